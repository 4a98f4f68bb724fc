// A whole chat back end, told nothing but the load balancer's URL, while its Azure OpenAI resources throttle.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'

import { useWorld } from './behaviours.mjs'
import { startChatBackend } from './chat-backend.mjs'
import { backends, keyOf, wholeText } from './world.mjs'

const throttle = { fault: 'throttle', form: 'ms', ms: 30_000 }
const token = 'token-of-the-apps-identity'
const questions = [{ role: 'user', content: 'What is a deductible?' }]

async function ask(app, path, body) {
  const headers = { 'content-type': 'application/json', connection: 'close' }
  const answer = await fetch(`${app.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  const text = await answer.text()
  assert.equal(answer.status, 200, text)
  return text
}

describe('a chat back end', { concurrency: 1 }, () => {
  const here = useWorld()
  const app = {}

  before(async () => {
    app.config = { url: here.world.url, chatModel: 'gpt-4o', embeddingModel: 'text-embedding-3-large', token }
  })
  after(() => app.stop?.())

  /** The same process, with deployments that nothing has throttled yet. */
  async function start() {
    await app.stop?.()
    const deployments = { chatDeployment: here.world.deployment(), embeddingDeployment: here.world.deployment() }
    Object.assign(app.config, deployments)
    Object.assign(app, await startChatBackend(app.config))
  }

  /** What the backends saw: resource, path and query of each request, without the number of the deployment. */
  async function seen() {
    const requests = await here.world.requests()
    for (const { headers, resource } of requests) {
      assert.equal(headers.get('api-key'), keyOf(resource))
      assert.equal(headers.get('authorization'), null)
      assert.equal(headers.get('x-stainless-retry-count'), '0', 'the library had to try again')
    }
    return requests.map(({ resource, target }) => [resource, target.replace(/-\d+\//, '/')])
  }

  const chat = '/openai/deployments/gpt-4o/chat/completions?api-version=2024-02-01'
  const embeddings = '/openai/deployments/gpt-4o/embeddings?api-version=2024-02-01'

  test('answers with sources though its first resource throttles', async () => {
    await start()
    await here.world.spoil({ one: throttle })
    const { choices: [{ message }] } = JSON.parse(await ask(app, '/chat', { messages: questions }))
    assert.equal(message.content, wholeText)
    assert.equal(message.context.data_points.text.length, 2)
    assert.equal(message.context.dimensions, 1536)
    assert.deepEqual(await seen(), [['one', chat], ['two', chat], ['one', embeddings], ['two', embeddings], ['two', chat]])
  })

  test('streams its answer line by line though all its resources but the last throttle', async () => {
    await start()
    await here.world.spoil({ one: throttle, two: throttle, three: throttle })
    const lines = (await ask(app, '/chat', { messages: questions, stream: true })).trim().split('\n').map(JSON.parse)
    assert.ok(lines.length > 5, `${lines.length} lines`)
    assert.equal(lines.map(({ choices: [{ delta }] }) => delta.content).join(''), wholeText)
    assert.deepEqual(lines[0].choices[0].delta.context.data_points.text.length, 2)
    assert.deepEqual((await seen()).filter(([resource]) => resource === 'four').map(([, path]) => path), [chat, embeddings, chat])
  })

  test('answers through LangChain though its first resource throttles', async () => {
    await start()
    await here.world.spoil({ one: throttle })
    const { choices: [{ message }] } = JSON.parse(await ask(app, '/ask', { messages: questions }))
    assert.equal(message.content, wholeText)
    assert.deepEqual((await here.world.requests()).map(({ resource }) => resource), ['one', 'two', 'one', 'two'])
  })

  test('shows no user an error while a conversation of many goes on and resources throttle in turn', async () => {
    await start()
    await here.world.spoil(Object.fromEntries(backends.slice(0, 3).map((name) => [name, { ...throttle, ms: 50, probability: 0.5 }])))
    const conversation = [...questions, { role: 'assistant', content: 'Five.' }, ...questions]
    const answers = await Promise.all(Array.from({ length: 20 }, (_, user) =>
      ask(app, '/chat', { messages: conversation, stream: user % 2 === 1 })))
    for (const answer of answers) {
      const parts = answer.trim().split('\n').map((line) => JSON.parse(line).choices[0])
      assert.equal(parts.map(({ message, delta }) => (message ?? delta).content).join(''), wholeText)
    }
  })
})
