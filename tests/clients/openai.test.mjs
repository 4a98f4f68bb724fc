// OpenAI of the openai package with another base URL: the model is in the body.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { NotFoundError, OpenAI, RateLimitError } from 'openai'

import { assertHints, chunks, events, joined, json, testLibrary, useWorld } from './behaviours.mjs'
import { keyOf, wholeText } from './world.mjs'

const messages = [{ role: 'user', content: 'What is the capital of France?' }]

const clientOf = (world, options, path = '/v1') =>
  new OpenAI({ baseURL: world.url + path, apiKey: 'of-no-interest', maxRetries: 0, ...options })

testLibrary('OpenAI', {
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
  "streamed chat by the library's own assembler": {
    form: chunks,
    async ask(world, model, options) {
      const runner = clientOf(world, options).chat.completions.stream({ model, messages })
      const completion = await runner.finalChatCompletion()
      return completion.choices[0].message.content
    },
  },
  'embeddings': {
    form: json,
    says: [1536],
    async ask(world, model, options) {
      const { data } = await clientOf(world, options).embeddings.create({ model, input: 'Hello' })
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
  "streamed responses by the library's own assembler": {
    form: events,
    async ask(world, model, options) {
      const request = { model, input: 'Hello', store: false }
      const response = await clientOf(world, options).responses.stream(request).finalResponse()
      return response.output_text
    },
  },
}, (error, soonest) => {
  assert.ok(error instanceof RateLimitError, error)
  assert.equal(error.status, 429)
  assertHints(error.headers, soonest)
})

describe('OpenAI', () => {
  const here = useWorld()

  for (const path of ['', '/', '/v1', '/v1/', '/openai/v1', '/openai/v1/'])
    test(`the base URL may end in "${path}"`, async () => {
      const client = clientOf(here.world, {}, path)
      await here.world.spoil({})
      const model = here.world.deployment()
      const completion = await client.chat.completions.create({ model, messages })
      const response = await client.responses.create({ model, input: 'Hello', store: false })
      assert.equal(completion.choices[0].message.content, wholeText)
      assert.equal(response.output_text, wholeText)
      assert.deepEqual((await here.world.requests()).map(({ target }) => target),
        ['/openai/v1/chat/completions', '/openai/v1/responses'])
    })

  test("its Bearer key is taken, and the backend sees the backend's own alone", async () => {
    const client = clientOf(here.world, { apiKey: 'key-of-the-caller' })
    await here.world.spoil({})
    await client.chat.completions.create({ model: here.world.deployment(), messages })
    const [request] = await here.world.requests()
    assert.equal(request.headers.get('api-key'), keyOf('one'))
    assert.equal(request.headers.get('authorization'), null)
  })

  test('the models are those of the configuration', async () => {
    await here.world.spoil({})
    const names = await joined(clientOf(here.world).models.list(), (model) => `${model.id} `)
    assert.ok(names.split(' ').includes(here.world.deployment()), names)
    assert.deepEqual(await here.world.requests(), [])
  })

  test('a model that no backend serves is a NotFoundError', async () => {
    const request = { model: 'gpt-of-nobody', messages }
    await assert.rejects(clientOf(here.world).chat.completions.create(request), (error) => {
      assert.ok(error instanceof NotFoundError, error)
      assert.equal(error.code, 'DeploymentNotFound')
      return true
    })
  })
})
