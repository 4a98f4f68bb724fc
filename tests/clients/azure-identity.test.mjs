// The daemon and Microsoft's own library ask the same fake endpoint for a token, and ask the same thing.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

import { Program, program } from './world.mjs'

const scope = 'https://cognitiveservices.azure.com/.default'
const clientId = '11111111-2222-3333-4444-555555555555'
const header = '853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a'

/** Grants a token to whoever asks, and remembers how each asked. */
async function startEndpoint() {
  const asked = []
  const server = createServer((request, response) => {
    asked.push(request)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({
      access_token: 'a-token', expires_on: String(Math.floor(Date.now() / 1000) + 3600),
      resource: scope.replace('/.default', ''), token_type: 'Bearer',
    }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, asked, url: `http://127.0.0.1:${server.address().port}` }
}

/** What of a request matters to the services. */
function essence(request) {
  const url = new URL(request.url, 'http://endpoint')
  return {
    method: request.method,
    path: url.pathname.replace(/\/$/, ''), // the library ends every URL in a slash; Microsoft's documents do not
    query: Object.fromEntries([...url.searchParams].sort()),
    secret: request.headers['x-identity-header'],
    metadata: request.headers.metadata,
  }
}

/** Runs with these variables, and without any others that choose an identity's form. */
async function withEnvironment(variables, run) {
  const names = ['IDENTITY_ENDPOINT', 'IDENTITY_HEADER', 'AZURE_POD_IDENTITY_AUTHORITY_HOST', 'MSI_ENDPOINT', 'MSI_SECRET',
    'IMDS_ENDPOINT', 'IDENTITY_SERVER_THUMBPRINT', 'AZURE_CLIENT_ID']
  const before = Object.fromEntries(names.map((name) => [name, process.env[name]]))
  for (const name of names) delete process.env[name]
  Object.assign(process.env, variables)
  try {
    return await run()
  } finally {
    for (const name of names) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  }
}

async function askAsDaemon(endpoint, id) {
  const directory = mkdtempSync(join(tmpdir(), 'aoai-lb-identity-'))
  const path = join(directory, 'config.json')
  const auth = { type: 'managed_identity', ...(id && { client_id: id }) }
  writeFileSync(path, JSON.stringify({
    listen: { address: '127.0.0.1', port: 0 }, admin: { address: '127.0.0.1', port: 0 }, log: { level: 'debug' },
    backends: [{ name: 'one', url: 'http://127.0.0.1:1', auth }],
  }))
  const daemon = new Program(program('AOAI_LB', 'aoai-lb'), ['--config', path])
  await daemon.line(/A new token for/)
  await daemon.stop()
  rmSync(directory, { recursive: true })
  return essence(endpoint.asked.at(-1))
}

// The library remembers tokens and places for as long as a process lives: each question has a process of its own.
const question = `
  import { ManagedIdentityCredential } from '@azure/identity'
  const { token } = await new ManagedIdentityCredential(...JSON.parse(process.argv[1])).getToken(process.argv[2])
  console.log(token)
`

async function askAsLibrary(endpoint, id) {
  const before = endpoint.asked.length
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--input-type=module', '-e', question, JSON.stringify(id ? [{ clientId: id }] : []), scope],
    { cwd: import.meta.dirname ?? new URL('.', import.meta.url).pathname, timeout: 60_000 })
  assert.equal(stdout.trim(), 'a-token')
  assert.equal(endpoint.asked.length, before + 1)
  return essence(endpoint.asked.at(-1))
}

const places = {
  'a container app': (endpoint) => ({ IDENTITY_ENDPOINT: `${endpoint.url}/msi/token`, IDENTITY_HEADER: header }),
  'a VM': (endpoint) => ({ AZURE_POD_IDENTITY_AUTHORITY_HOST: endpoint.url }),
}

const endpoint = await startEndpoint()
after(() => endpoint.server.close())

for (const [place, variables] of Object.entries(places)) {
  for (const id of [undefined, clientId]) {
    test(`in ${place} both ask alike for ${id ? 'a user-assigned' : 'the system-assigned'} identity`, async () => {
      await withEnvironment(variables(endpoint), async () => {
        assert.deepEqual(await askAsDaemon(endpoint, id), await askAsLibrary(endpoint, id))
      })
    })
  }
}
