// A chat back end of the family that the documents deploy: retrieval, then an answer with sources, whole or streamed as
// lines of JSON. Search is a stub; what it asks of Azure OpenAI, and how, is what azure-search-openai-javascript does:
// one OpenAI client for each deployment, whose base URL ends in /openai/deployments/NAME, the token of an identity as both
// kinds of credential, and the library's own retries as they come.
import { once } from 'node:events'
import { createServer } from 'node:http'

import { AzureChatOpenAI, AzureOpenAIEmbeddings } from '@langchain/openai'
import OpenAI from 'openai'

const apiVersion = '2024-02-01'
const sources = ['benefits.pdf: The deductible is what you pay before the plan does.', 'faq.md: Refunds take five days.']

/** The two clients of the `rrr` approach. */
function clientsOf({ url, chatDeployment, embeddingDeployment, token }) {
  const common = { apiKey: token, defaultQuery: { 'api-version': apiVersion }, defaultHeaders: { 'api-key': token } }
  return {
    chat: new OpenAI({ ...common, baseURL: `${url}/openai/deployments/${chatDeployment}` }).chat,
    embeddings: new OpenAI({ ...common, baseURL: `${url}/openai/deployments/${embeddingDeployment}` }).embeddings,
  }
}

/** The clients of the `rtr` approach, which goes through LangChain. */
function chainOf({ url, chatDeployment, embeddingDeployment, token }) {
  const common = {
    openAIApiKey: token, azureOpenAIApiKey: token, azureOpenAIApiVersion: apiVersion,
    azureOpenAIBasePath: `${url}/openai/deployments`,
  }
  return {
    chat: new AzureChatOpenAI({ ...common, azureOpenAIApiDeploymentName: chatDeployment, temperature: 0.3 }),
    embeddings: new AzureOpenAIEmbeddings({ ...common, azureOpenAIApiDeploymentName: embeddingDeployment }),
  }
}

/** Asks for a search query, searches by its vector, and says what the last question to the model is. */
async function retrieve({ chat, embeddings }, { chatModel, embeddingModel }, messages) {
  const question = messages.at(-1).content
  const query = await chat.completions.create({
    model: chatModel,
    messages: [{ role: 'system', content: 'Generate a search query.' }, { role: 'user', content: question }],
    temperature: 0, max_tokens: 32, n: 1,
  })
  const text = query.choices[0].message.content?.trim() ?? question
  const { data } = await embeddings.create({ model: embeddingModel, input: text })
  const request = {
    model: chatModel,
    messages: [
      { role: 'system', content: 'Answer only with the facts of the sources.' },
      ...messages.slice(0, -1),
      { role: 'user', content: `${question}\n\nSources:\n${sources.join('\n')}` },
    ],
    temperature: 0.7, max_tokens: 1024, n: 1,
  }
  return { request, context: { data_points: { text: sources }, dimensions: data[0].embedding.length } }
}

async function answerChat(config, { messages, stream }, response) {
  const clients = clientsOf(config)
  const { request, context } = await retrieve(clients, config, messages)
  if (!stream) {
    const completion = await clients.chat.completions.create(request)
    const message = { role: 'assistant', content: completion.choices[0].message.content ?? '', context }
    return response.end(JSON.stringify({ choices: [{ index: 0, message }], object: 'chat.completion' }))
  }
  let first = true
  for await (const chunk of await clients.chat.completions.create({ ...request, stream: true })) {
    const delta = { role: 'assistant', content: chunk.choices[0]?.delta.content ?? '', context: first ? context : {} }
    response.write(`${JSON.stringify({ choices: [{ index: 0, delta }], object: 'chat.completion.chunk' })}\n`)
    first = false
  }
  response.end()
}

async function answerAsk(config, { messages }, response) {
  const { chat, embeddings } = chainOf(config)
  const vector = await embeddings.embedQuery(messages[0].content)
  const { content } = await chat.invoke([['system', `Sources:\n${sources.join('\n')}`], ['human', messages[0].content]])
  const message = { role: 'assistant', content, context: { data_points: { text: sources }, dimensions: vector.length } }
  response.end(JSON.stringify({ choices: [{ index: 0, message }], object: 'chat.completion' }))
}

/**
 * Starts one. config: { url: AZURE_OPENAI_CUSTOM_URL, chatDeployment, chatModel, embeddingDeployment, embeddingModel,
 * token }. Returns { url, stop() }.
 */
export async function startChatBackend(config) {
  const approaches = { '/chat': answerChat, '/ask': answerAsk }
  const server = createServer(async (request, response) => {
    try {
      const parts = await request.toArray()
      response.setHeader('content-type', 'application/json')
      await approaches[request.url](config, JSON.parse(Buffer.concat(parts).toString()), response)
    } catch (error) {
      if (response.headersSent) return response.destroy(error)
      response.statusCode = error.status ?? 500
      response.end(JSON.stringify({ error: error.message }))
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
