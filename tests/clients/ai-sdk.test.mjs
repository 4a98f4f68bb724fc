// The AI SDK with @ai-sdk/azure: the v1 paths by default, deployment paths where asked for.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { createAzure } from '@ai-sdk/azure'
import { APICallError, embed, generateText, streamText } from 'ai'

import { assertHints, chunks, events, json, testLibrary, useWorld } from './behaviours.mjs'
import { apiVersion, keyOf, wholeText } from './world.mjs'

const prompt = 'What is the capital of France?'

const providerOf = (world, settings) =>
  createAzure({ baseURL: `${world.url}/openai/v1`, apiKey: 'of-no-interest', ...settings })

const deploymentProviderOf = (world) =>
  providerOf(world, { baseURL: `${world.url}/openai`, useDeploymentBasedUrls: true, apiVersion })

async function generated(model, options) {
  return (await generateText({ model, prompt, ...options })).text
}

/** The library hands errors over as parts of the stream. */
async function streamed(model, options) {
  const result = streamText({ model, prompt, onError: () => {}, ...options })
  let text = ''
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error
    if (part.type === 'text-delta') text += part.text
  }
  return text
}

testLibrary('@ai-sdk/azure', {
  'chat': {
    form: json,
    ask: (world, name, options) => generated(providerOf(world).chat(name), options),
  },
  'streamed chat': {
    form: chunks,
    ask: (world, name, options) => streamed(providerOf(world).chat(name), options),
  },
  'streamed chat by deployment path': {
    form: chunks,
    ask: (world, name, options) => streamed(deploymentProviderOf(world).chat(name), options),
  },
  'embeddings': {
    form: json,
    says: 1536,
    async ask(world, name, options) {
      const { embedding } = await embed({ model: providerOf(world).embedding(name), value: 'Hello', ...options })
      return embedding.length
    },
  },
  'responses': {
    form: json,
    ask: (world, name, options) => generated(providerOf(world).responses(name), options),
  },
  'streamed responses': {
    form: events,
    ask: (world, name, options) => streamed(providerOf(world).responses(name), options),
  },
}, (error, soonest) => {
  assert.ok(APICallError.isInstance(error), error)
  assert.equal(error.statusCode, 429)
  assert.equal(error.isRetryable, true)
  assertHints(new Headers(error.responseHeaders), soonest)
})

describe('@ai-sdk/azure', () => {
  const here = useWorld()

  for (const api of ['chat', 'responses'])
    test(`it understands the error event of a broken stream, ${api}`, async () => {
      await here.world.spoil({ one: { fault: 'truncate', stage: 'at_event', at: 9 } })
      const model = providerOf(here.world)[api](here.world.deployment())
      await assert.rejects(streamed(model, { maxRetries: 0 }), (error) => {
        assert.match(JSON.stringify(error.message ?? error), /^"?[^"]*broke before its end/)
        return true
      })
    })

  test('the base URL may be the bare host', async () => {
    const provider = providerOf(here.world, { baseURL: here.world.url })
    await here.world.spoil({})
    assert.equal(await generated(provider.chat(here.world.deployment())), wholeText)
    assert.equal(await generated(provider.responses(here.world.deployment())), wholeText)
  })

  test("a token provider's token is taken, and the backend sees its own key alone", async () => {
    const tokenProvider = async () => 'token-of-the-caller'
    const provider = providerOf(here.world, { apiKey: undefined, tokenProvider })
    await here.world.spoil({})
    assert.equal(await generated(provider.responses(here.world.deployment())), wholeText)
    const [request] = await here.world.requests()
    assert.equal(request.headers.get('authorization'), null)
    assert.equal(request.headers.get('api-key'), keyOf('one'))
  })
})
