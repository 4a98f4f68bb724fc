// AzureOpenAI of the openai package: deployment paths, and Azure's own responses path.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { AzureOpenAI, BadRequestError, RateLimitError } from 'openai'

import { assertHints, chunks, events, joined, json, testLibrary, useWorld } from './behaviours.mjs'
import { apiVersion, backends, keyOf, wholeText } from './world.mjs'

const messages = [{ role: 'user', content: 'What is the capital of France?' }]

const clientOf = (world, options) =>
  new AzureOpenAI({ endpoint: world.url, apiKey: 'of-no-interest', apiVersion, maxRetries: 0, ...options })

testLibrary('AzureOpenAI', {
  'chat': {
    form: json,
    async ask(world, model, options) {
      const completion = await clientOf(world, options).chat.completions.create({ model, messages })
      return completion.choices[0].message.content
    },
  },
  'streamed chat': {
    form: chunks,
    async ask(world, model, options) {
      const stream = await clientOf(world, options).chat.completions.create({ model, messages, stream: true })
      return joined(stream, (chunk) => chunk.choices[0]?.delta.content)
    },
  },
  'completions': {
    form: json,
    async ask(world, model, options) {
      const completion = await clientOf(world, options).completions.create({ model, prompt: 'Hello' })
      return completion.choices[0].text
    },
  },
  'streamed completions': {
    form: chunks,
    async ask(world, model, options) {
      const stream = await clientOf(world, options).completions.create({ model, prompt: 'Hello', stream: true })
      return joined(stream, (chunk) => chunk.choices[0]?.text)
    },
  },
  'embeddings': {
    form: json,
    says: [1536, 1536],
    async ask(world, model, options) {
      const { data } = await clientOf(world, options).embeddings.create({ model, input: ['Hello', 'world'] })
      return data.map(({ embedding }) => embedding.length)
    },
  },
  'responses': {
    form: json,
    async ask(world, model, options) {
      const response = await clientOf(world, options).responses.create({ model, input: 'Hello', store: false })
      return response.output_text
    },
  },
  'streamed responses': {
    form: events,
    async ask(world, model, options) {
      const request = { model, input: 'Hello', store: false, stream: true }
      const stream = await clientOf(world, options).responses.create(request)
      return joined(stream, (event) => (event.type === 'response.output_text.delta' ? event.delta : ''))
    },
  },
}, (error, soonest) => {
  assert.ok(error instanceof RateLimitError, error)
  assert.equal(error.status, 429)
  assertHints(error.headers, soonest)
})

describe('AzureOpenAI', () => {
  const here = useWorld()

  test('embeddings that are asked for as base64 are those that come as numbers', async () => {
    const client = clientOf(here.world)
    const request = { model: here.world.deployment(), input: 'Hello', dimensions: 64 }
    await here.world.spoil({})
    const packed = await client.embeddings.create(request)
    const plain = await client.embeddings.create({ ...request, encoding_format: 'float' })
    const formats = (await here.world.requests()).map(({ body }) => JSON.parse(body).encoding_format)
    assert.deepEqual(formats, ['base64', 'float'])
    assert.equal(packed.data[0].embedding.length, 64)
    assert.ok(packed.data[0].embedding.some((number) => number !== 0))
    assert.deepEqual(Array.from(packed.data[0].embedding, Math.fround), plain.data[0].embedding.map(Math.fround))
  })

  test("a token provider's token is taken, and the backend sees its own key alone", async () => {
    const azureADTokenProvider = async () => 'token-of-the-caller'
    const client = clientOf(here.world, { apiKey: undefined, azureADTokenProvider })
    await here.world.spoil({ one: { fault: 'throttle' } })
    const model = here.world.deployment()
    const completion = await client.chat.completions.create({ model, messages })
    assert.equal(completion.choices[0].message.content, wholeText)
    const requests = await here.world.requests()
    assert.deepEqual(requests.map(({ resource }) => resource), ['one', 'two'])
    for (const { headers, resource } of requests) {
      assert.equal(headers.get('authorization'), null)
      assert.equal(headers.get('api-key'), keyOf(resource))
    }
  })

  test("the caller's own key never reaches a backend", async () => {
    const client = clientOf(here.world, { apiKey: 'key-of-the-caller' })
    await here.world.spoil({})
    await client.responses.create({ model: here.world.deployment(), input: 'Hello', store: false })
    const [request] = await here.world.requests()
    assert.doesNotMatch(JSON.stringify([...request.headers]), /key-of-the-caller/)
  })

  test('with its own retries it waits as long as it is told, and succeeds', async () => {
    const client = clientOf(here.world, { maxRetries: 2 })
    const model = here.world.deployment()
    await here.world.spoil(Object.fromEntries(backends.map((name) =>
      [name, { fault: 'throttle', form: 'ms', ms: 1300, count: 1 }])))
    const started = performance.now()
    const completion = await client.chat.completions.create({ model, messages })
    assert.equal(completion.choices[0].message.content, wholeText)
    assert.ok(performance.now() - started >= 1290, 'it came back too early')
    const requests = await here.world.requests()
    assert.deepEqual(requests.map(({ resource }) => resource), [...backends, 'one'])
    assert.equal(requests.at(-1).headers.get('x-stainless-retry-count'), '1')
  })

  test('an error of its own making reaches it unchanged, and no other backend', async () => {
    await here.world.spoil({})
    const content = 'trigger-content-filter'
    const request = { model: here.world.deployment(), messages: [{ role: 'user', content }] }
    await assert.rejects(clientOf(here.world).chat.completions.create(request), (error) => {
      assert.ok(error instanceof BadRequestError, error)
      assert.equal(error.code, 'content_filter')
      return true
    })
    assert.deepEqual((await here.world.requests()).map(({ resource }) => resource), ['one'])
  })
})
