// @langchain/openai: AzureChatOpenAI on deployment paths (with another "model" in the body than in the path), and
// ChatOpenAI for the Responses API.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { AzureChatOpenAI, AzureOpenAIEmbeddings, ChatOpenAI } from '@langchain/openai'

import { assertHints, chunks, events, joined, json, testLibrary, useWorld } from './behaviours.mjs'
import { apiVersion, wholeText } from './world.mjs'

const prompt = 'What is the capital of France?'

const azureOf = (world, azureOpenAIApiDeploymentName, options) => new AzureChatOpenAI({
  azureOpenAIEndpoint: world.url,
  azureOpenAIApiKey: 'of-no-interest',
  azureOpenAIApiVersion: apiVersion,
  azureOpenAIApiDeploymentName,
  ...options,
})

const embeddingsOf = (world, azureOpenAIApiDeploymentName, options) => new AzureOpenAIEmbeddings({
  azureOpenAIBasePath: `${world.url}/openai/deployments`,
  azureOpenAIApiKey: 'of-no-interest',
  azureOpenAIApiVersion: apiVersion,
  azureOpenAIApiDeploymentName,
  ...options,
})

const responsesOf = (world, model, options) => new ChatOpenAI({
  model,
  apiKey: 'of-no-interest',
  useResponsesApi: true,
  configuration: { baseURL: `${world.url}/openai/v1` },
  ...options,
})

const invoked = async (model) => (await model.invoke(prompt)).text
const streamed = async (model) => joined(await model.stream(prompt), (chunk) => chunk.text)

testLibrary('@langchain/openai', {
  'chat': {
    form: json,
    ask: (world, name, options) => invoked(azureOf(world, name, options)),
  },
  'streamed chat': {
    form: chunks,
    ask: (world, name, options) => streamed(azureOf(world, name, options)),
  },
  'embeddings': {
    form: json,
    says: 1536,
    ask: async (world, name, options) => (await embeddingsOf(world, name, options).embedQuery('Hello')).length,
  },
  'responses': {
    form: json,
    ask: (world, name, options) => invoked(responsesOf(world, name, options)),
  },
  'streamed responses': {
    form: events,
    ask: (world, name, options) => streamed(responsesOf(world, name, options)),
  },
}, (error, soonest) => {
  assert.equal(error.status, 429)
  assertHints(error.headers, soonest)
})

describe('@langchain/openai', () => {
  const here = useWorld()

  test('the deployment of the path is asked, whatever model the body names', async () => {
    const model = azureOf(here.world, here.world.deployment(), { model: 'gpt-of-another-name' })
    await here.world.spoil({ one: { fault: 'throttle' } })
    assert.equal(await invoked(model), wholeText)
    const requests = await here.world.requests()
    assert.deepEqual(requests.map(({ resource }) => resource), ['one', 'two'])
    for (const request of requests) assert.equal(JSON.parse(request.body).model, 'gpt-of-another-name')
  })

  test("a token provider's token is taken", async () => {
    const azureADTokenProvider = async () => 'token-of-the-caller'
    const options = { azureOpenAIApiKey: undefined, azureADTokenProvider }
    await here.world.spoil({})
    assert.equal(await invoked(azureOf(here.world, here.world.deployment(), options)), wholeText)
    const [request] = await here.world.requests()
    assert.equal(request.headers.get('authorization'), null)
  })
})
