// What azd up would deploy, for real: the simulator stands in for the Azure OpenAI resources and the deployments that the
// Bicep files make, the daemon runs with the configuration that they make, and callers ask as the chat apps do.
//
// Two things are put in the place of what only Azure has: the resources' addresses, and keys for the identity.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'

import { deploy } from './evaluate.mjs'
import { at, program } from './files.mjs'

const startMilliseconds = 30_000
const key = 'key-in-the-place-of-an-identity'
const clientKey = 'the-callers-key'
const made = deploy(at('deploy/infra/main.bicep'), {
  environmentName: 'my-env', location: 'westeurope', provisionedCapacity: 15, clientKey, appExists: true,
})
const of = (type) => made.resources.filter((resource) => resource.type === type).map(({ body }) => body)

/** The simulator's resources, as the deployments say. */
function simulatorConfig() {
  const deployments = of('Microsoft.CognitiveServices/accounts/deployments')
  const limit = ({ name, capacity }) => (name.includes('Provisioned') ? { ptu: capacity } : { tokens_per_minute: capacity * 1000 })
  const resources = of('Microsoft.CognitiveServices/accounts').map(({ name }) => ({
    name,
    api_key: key,
    deployments: Object.fromEntries(deployments.filter(({ parent }) => parent.name === name)
      .map(({ name: deployment, sku }) => [deployment, limit(sku)])),
  }))
  return { control: { port: 0 }, resources }
}

/** The configuration of the container app, on free ports and with the simulator's addresses. */
function daemonConfig(ports) {
  const [app] = of('Microsoft.App/containerApps')
  const config = JSON.parse(app.properties.configuration.secrets.find(({ name }) => name === 'config').value)
  for (const backend of config.backends) {
    const account = new URL(backend.url).hostname.split('.')[0]
    assert.equal(backend.auth.type, 'managed_identity')
    Object.assign(backend, { url: `http://127.0.0.1:${ports.get(account)}`, auth: { type: 'api_key', key } })
  }
  Object.assign(config, { listen: { address: '127.0.0.1', port: 0 }, admin: { port: 0 } })
  config.timeouts.drain_delay_ms = 0
  return config
}

/** Starts a program; until() waits for a line. */
function start(path, args, environment = {}) {
  const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...environment } })
  const lines = []
  const reader = createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  const kill = () => child.kill('SIGKILL')
  const ended = once(child, 'exit')
  process.on('exit', kill)
  return {
    lines,
    async until(pattern) {
      const signal = AbortSignal.timeout(startMilliseconds)
      for (;;) {
        const found = lines.map((line) => pattern.exec(line)).find(Boolean)
        if (found) return found
        assert.equal(child.exitCode, null, lines.join('\n'))
        await Promise.race([once(reader, 'line', { signal }), ended])
      }
    },
    async stop() {
      child.kill('SIGTERM')
      const [code] = await ended
      process.off('exit', kill)
      return code
    },
  }
}

describe('the deployed configuration', { concurrency: 1 }, () => {
  const here = { directory: mkdtempSync(join(tmpdir(), 'aoai-lb-deploy-')) }
  const write = (name, content) => {
    const path = join(here.directory, name)
    writeFileSync(path, JSON.stringify(content))
    return path
  }

  before(async () => {
    const simulated = simulatorConfig()
    here.simulator = start(program('AOAI_SIM', 'aoai-sim'), ['--config', write('simulator.json', simulated), '--print-ports'])
    const ports = new Map()
    for (const { name } of simulated.resources) ports.set(name, (await here.simulator.until(new RegExp(`^${name} (\\d+)$`)))[1])
    here.control = (await here.simulator.until(/^control (\d+)$/))[1]
    here.daemon = start(program('AOAI_LB', 'aoai-lb'), ['--config', write('config.json', daemonConfig(ports))], { CLIENT_KEY: clientKey })
    here.port = (await here.daemon.until(/Listening on http:\/\/\S*?:(\d+)(?![\d.])/))[1]
  })
  after(async () => {
    const codes = await Promise.all([here.daemon?.stop(), here.simulator?.stop()])
    rmSync(here.directory, { recursive: true, force: true })
    assert.deepEqual(codes, [0, 0])
  })

  /** One request; which backend answered, without the resource's unique part. */
  async function ask(path, body, headers = { 'api-key': clientKey }) {
    const answer = await fetch(`http://127.0.0.1:${here.port}${path}`, {
      method: body ? 'POST' : 'GET',
      body: body && JSON.stringify(body),
      headers: { 'content-type': 'application/json', connection: 'close', ...headers },
    })
    const text = await answer.text()
    const backend = answer.headers.get('x-aoai-lb-backend')?.replace(/-[0-9a-f]{13}/, '')
    return { status: answer.status, backend, text, attempts: answer.headers.get('x-aoai-lb-attempts') }
  }

  async function spoil(...faults) {
    const options = { method: 'POST', headers: { connection: 'close' } }
    await (await fetch(`http://127.0.0.1:${here.control}/reset`, options)).text()
    const answer = await fetch(`http://127.0.0.1:${here.control}/faults`, { ...options, body: JSON.stringify(faults) })
    assert.equal(answer.status, 200, await answer.text())
  }

  const question = { messages: [{ role: 'user', content: 'Hello' }] }
  const chat = '/openai/deployments/chat/chat/completions?api-version=2024-10-21'
  const embeddings = '/openai/deployments/embedding/embeddings?api-version=2024-10-21'
  const asked = {
    'chat by its deployment': [chat, question, 'openai1-provisioned'],
    'chat by its model': ['/openai/deployments/gpt-4.1-mini/chat/completions?api-version=2024-10-21', question, 'openai1-provisioned'],
    'responses on the bare URL': ['/responses', { model: 'gpt-4.1-mini', input: 'Hello', store: false }, 'openai1-provisioned'],
    'chat, v1 style': ['/openai/v1/chat/completions', { ...question, model: 'chat' }, 'openai1-provisioned'],
    'embeddings by their deployment': [embeddings, { input: 'Hello' }, /^openai[123]$/],
    'embeddings on the bare URL': ['/embeddings', { model: 'text-embedding-3-large', input: ['Hello'] }, /^openai[123]$/],
  }
  for (const [what, [path, body, expected]] of Object.entries(asked))
    test(`answers ${what}`, async () => {
      const { status, backend, text } = await ask(path, body)
      assert.equal(status, 200, text)
      if (typeof expected === 'string') assert.equal(backend, expected)
      else assert.match(backend, expected)
    })

  test('takes a Bearer token as the key, and refuses who shows none', async () => {
    assert.equal((await ask(chat, question, { authorization: `Bearer ${clientKey}` })).status, 200)
    assert.equal((await ask(chat, question, {})).status, 401)
  })

  test('says which names it serves', async () => {
    const { data } = JSON.parse((await ask('/models')).text)
    assert.deepEqual(data.map(({ id }) => id).sort(), ['chat', 'embedding', 'gpt-4.1-mini', 'text-embedding-3-large'])
  })

  test('spills over to a standard deployment when the provisioned one is full', async () => {
    await spoil({ fault: 'throttle', form: 'ms', ms: 60_000, deployment: 'chat-provisioned' })
    const { status, backend, attempts } = await ask(chat, question)
    assert.equal(status, 200)
    assert.match(backend, /^openai[123]$/)
    assert.match(attempts, /-provisioned=429\(\d+ms\),openai[123]-[0-9a-f]+=200$/)
  })

  test('logs where it goes, as the documents look for it', async () => {
    await here.daemon.until(/ Proxying to http:\/\/127\.0\.0\.1:\d+\/openai\/deployments\/chat/)
  })
})
