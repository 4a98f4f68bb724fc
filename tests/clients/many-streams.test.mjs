// Hundreds of streams, many at once, with random faults at random bytes: each is whole, or the openai package raises an
// error. AOAI_SEED repeats a run that failed, as far as a run with many callers can be repeated.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { AzureOpenAI, OpenAI } from 'openai'

import { useWorld } from './behaviours.mjs'
import { apiVersion, backends, wholeText } from './world.mjs'

const seed = Number(process.env.AOAI_SEED ?? 20261122)
const streams = 400
const waves = 4
const atOnce = 40
const faultsMax = 250 // the simulator takes 256
const bodyBytes = 10_000 // of the longest stream, about
const eventCount = 36 // of the longest stream, and a few more

const messages = [{ role: 'user', content: 'What is the capital of France?' }]

/** Mulberry32: numbers from 0 to 1 that a seed repeats. */
function makeDice(state) {
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit) => Math.floor(next() * limit)
  return { next, below, one: (list) => list[below(list.length)] }
}

function randomFault(dice) {
  const event = { at: dice.below(eventCount) }
  const place = dice.one([
    { stage: 'at_byte', at: dice.below(bodyBytes) },
    { stage: dice.one(['at_event', 'in_event']), ...event },
    { stage: dice.one(['before_head', 'mid_head', 'after_head', 'before_end']) },
  ])
  const form = dice.one(['chunk', 'event', 'response_failed'])
  return dice.one([
    { fault: 'reset', ...place },
    { fault: 'truncate', ...place },
    { fault: 'truncate', form: 'final_chunk', stage: 'at_event', ...event },
    { fault: 'stall', ...place },
    { fault: 'stream_error', status: dice.one([429, 500]), form, ...event },
    { fault: 'no_done' },
    { fault: 'throttle', form: 'ms', ms: dice.below(50) },
    { fault: 'status', status: dice.one([500, 503]) },
    { fault: 'slow_body', bytes: 300 + dice.below(3000), ms: 1 },
    { fault: 'line_ends', form: dice.one(['crlf', 'cr']) },
    { fault: 'until_close' },
  ])
}

/** Faults for the first requests that reach each backend. */
function randomFaults(dice) {
  const plan = {}
  const each = Math.floor(faultsMax / backends.length)
  for (const backend of backends)
    plan[backend] = Array.from({ length: each }, (_, number) => ({ ...randomFault(dice), skip: number, count: 1 }))
  return plan
}

/** One stream; adds what arrives to got.text as it comes. */
async function readStream(world, model, kind, got) {
  const options = { apiKey: 'of-no-interest', maxRetries: 0 }
  if (kind === 'responses') {
    const client = new OpenAI({ baseURL: `${world.url}/openai/v1`, ...options })
    for await (const event of await client.responses.create({ model, input: 'Hello', store: false, stream: true }))
      if (event.type === 'response.output_text.delta') got.text += event.delta
    return
  }
  const client = kind === 'azure' ? new AzureOpenAI({ endpoint: world.url, apiVersion, ...options })
    : new OpenAI({ baseURL: `${world.url}/v1`, ...options })
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true }))
    got.text += chunk.choices[0]?.delta.content ?? ''
}

describe('hundreds of streams', () => {
  const here = useWorld({
    retry: { max_unsafe_retries: 2 },
    cooldown: { min_ms: 1, default_ms: 5, max_ms: 20, server_error_ms: 5 },
    timeouts: { response_ms: 1000, stream_idle_ms: 1000, commit_ms: 500 },
  })

  test('each is whole or raises an error', async () => {
    const dice = makeDice(seed)
    const model = here.world.deployment()
    const outcomes = { whole: 0, raised: 0 }
    const wrong = []

    async function caller(kinds) {
      for (let kind = kinds.pop(); kind; kind = kinds.pop()) {
        const got = { text: '' }
        try {
          await readStream(here.world, model, kind, got)
          outcomes.whole++
          if (got.text !== wholeText) wrong.push(`${kind}: a clean end after "${got.text}"`)
        } catch {
          outcomes.raised++
          if (!wholeText.startsWith(got.text)) wrong.push(`${kind}: another text, "${got.text}"`)
        }
      }
    }
    for (let wave = 0; wave < waves; wave++) {
      const kinds = Array.from({ length: streams / waves }, () => dice.one(['azure', 'chat', 'responses']))
      await here.world.spoil(randomFaults(dice))
      await Promise.all(Array.from({ length: atOnce }, () => caller(kinds)))
    }
    assert.deepEqual(wrong, [], `AOAI_SEED=${seed}`)
    assert.equal(outcomes.whole + outcomes.raised, streams)
    assert.ok(Math.min(outcomes.whole, outcomes.raised) > streams / 10, JSON.stringify(outcomes))
  })
})
