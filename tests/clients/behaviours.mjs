// What every client library must see of the load balancer, whichever operation it asks for. A file of tests per library
// says how that library asks (see azure-openai.test.mjs); here is what it must get.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import { backends, startWorld, wholeText } from './world.mjs'

// How an answer arrives: whole, as the chunks of chat and completions, or as the events of the Responses API.
export const json = 'json'
export const chunks = 'chunks'
export const events = 'events'

// The backends' faults, in the simulator's words (include/sim/fault.h). The first chunk of a chat, or two on deployment
// paths, and the first two events of the Responses API hold no content; from the fifth on all do.
const throttle = { fault: 'throttle', form: 'ms', ms: 30_000 }
const anyAnswer = {
  'throttles': throttle,
  'answers 500': { fault: 'status', status: 500 },
  'answers 503': { fault: 'status', status: 503 },
  'resets the connection instead of answering': { fault: 'reset', stage: 'before_head' },
  'cuts its answer in the head': { fault: 'truncate', stage: 'mid_head' },
  'speaks no HTTP': { fault: 'garbled_head' },
  'never answers': { fault: 'stall' },
}
const beforeContent = {
  [json]: { ...anyAnswer, 'cuts its answer in the body': { fault: 'truncate' } },
  [chunks]: {
    ...anyAnswer,
    'dies before the first content': { fault: 'reset', stage: 'at_event', at: 1 },
    'stalls before the first content': { fault: 'stall', stage: 'at_event', at: 1 },
    'answers 429 inside its stream': { fault: 'stream_error', status: 429 },
    'answers 500 inside its stream': { fault: 'stream_error', status: 500 },
  },
  [events]: {
    ...anyAnswer,
    'dies before the first content': { fault: 'reset', stage: 'at_event', at: 2 },
    'stalls before the first content': { fault: 'stall', stage: 'at_event', at: 2 },
    'answers 429 inside its stream': { fault: 'stream_error', status: 429, form: 'event' },
    'answers 429 by response.failed': { fault: 'stream_error', status: 429, form: 'response_failed', at: 2 },
    'answers 500 by response.failed': { fault: 'stream_error', status: 500, form: 'response_failed', at: 2 },
  },
}
const afterContent = {
  'dies between two events': { fault: 'reset', stage: 'at_event', at: 9 },
  'dies inside an event': { fault: 'reset', stage: 'in_event', at: 9 },
  'closes between two events': { fault: 'truncate', stage: 'at_event', at: 9 },
  'closes inside an event': { fault: 'truncate', stage: 'in_event', at: 9 },
  'ends its chunks early': { fault: 'truncate', stage: 'at_event', at: 9, form: 'final_chunk' },
  'leaves out its last event': { fault: 'no_done' },
}
const lateError = {
  [chunks]: { fault: 'stream_error', status: 429, at: 9 },
  [events]: { fault: 'stream_error', status: 429, at: 9, form: 'event' },
}

/**
 * Adds the tests of a library's operations, which run side by side, each in a world of its own.
 *
 * operations	name → { form: json | chunks | events, ask(world, deployment, { maxRetries }) → what it got,
 *		says: what that must be, if not the whole text }
 * isThrottled	fails unless error is the library's own kind of 429, with a wait of that many milliseconds or less
 */
export function testLibrary(library, operations, isThrottled) {
  describe(library, { concurrency: true }, () => {
    for (const [name, operation] of Object.entries(operations))
      describe(name, { concurrency: 1 }, () => {
        const here = useWorld()
        testCalm(here, operation)
        testBeforeContent(here, operation)
        if (operation.form !== json) testAfterContent(here, operation)
        testAllThrottled(here, operation, isThrottled)
      })
  })
}

/** Starts a world before the tests of a suite and stops it after them; while they run it is the result's .world. */
export function useWorld(changes) {
  const here = { world: null }

  before(async () => {
    here.world = await startWorld(changes)
  })
  after(() => here.world?.stop())
  return here
}

/** Asks without the library's own retries, which would hide what the load balancer does. */
async function ask({ world }, operation, deployment) {
  return operation.ask(world, deployment, { maxRetries: 0 })
}

/** The backends that were asked, in their order. */
async function asked({ world }) {
  return (await world.requests()).map((request) => request.resource)
}

function testCalm(here, operation) {
  test('a whole answer', async () => {
    await here.world.spoil({})
    assert.deepEqual(await ask(here, operation, here.world.deployment()), operation.says ?? wholeText)
    assert.deepEqual(await asked(here), ['one'])
  })
}

function testBeforeContent(here, operation) {
  const says = operation.says ?? wholeText

  for (const [behaviour, fault] of Object.entries(beforeContent[operation.form]))
    test(`a whole answer though the first backend ${behaviour}`, async () => {
      await here.world.spoil({ one: fault })
      assert.deepEqual(await ask(here, operation, here.world.deployment()), says)
      assert.deepEqual(await asked(here), ['one', 'two'])
    })

  test('a whole answer though the first backend refuses connections', async () => {
    await here.world.spoil({})
    assert.deepEqual(await ask(here, operation, here.world.refusedDeployment()), says)
  })

  test('a whole answer as long as one backend is left', async () => {
    const { form } = operation
    const late = form === json ? 'cuts its answer in the body' : 'dies before the first content'
    const third = form === json ? 'answers 500' : 'answers 429 inside its stream'
    await here.world.spoil({ one: throttle, two: beforeContent[form][late], three: beforeContent[form][third] })
    assert.deepEqual(await ask(here, operation, here.world.deployment()), says)
    assert.deepEqual(await asked(here), backends)
  })
}

function testAfterContent(here, operation) {
  for (const [behaviour, fault] of Object.entries(afterContent))
    test(`an error and no short answer where the backend ${behaviour} after the first content`, async () => {
      await here.world.spoil({ one: fault })
      await assert.rejects(ask(here, operation, here.world.deployment()))
      assert.deepEqual(await asked(here), ['one'])
    })

  test('an error where the backend answers 429 inside its stream after the first content', async () => {
    await here.world.spoil({ one: lateError[operation.form] })
    await assert.rejects(ask(here, operation, here.world.deployment()))
    assert.deepEqual(await asked(here), ['one'])
  })
}

function testAllThrottled(here, operation, isThrottled) {
  test('a 429 that says when to come again where all backends throttle', async () => {
    const waits = { one: 25_000, two: 12_000, three: 18_000, four: 30_000 }
    await here.world.spoil(Object.fromEntries(backends.map((name) => [name, { ...throttle, ms: waits[name] }])))
    await assert.rejects(ask(here, operation, here.world.deployment()), (error) => {
      isThrottled(error, waits.two)
      return true
    })
    assert.deepEqual(await asked(here), backends)
  })
}

/** Fails unless the headers tell a wait that ends when the soonest backend's does. */
export function assertHints(headers, soonestMilliseconds) {
  const wait = Number(headers.get('retry-after-ms'))
  assert.ok(wait > soonestMilliseconds / 2 && wait <= soonestMilliseconds, `retry-after-ms: ${wait}`)
  assert.equal(Number(headers.get('retry-after')), Math.ceil(wait / 1000))
}

/** What the parts of a stream say together. */
export async function joined(stream, textOf) {
  let text = ''
  for await (const part of stream) text += textOf(part) ?? ''
  return text
}
