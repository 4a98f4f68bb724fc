// The daemon and Microsoft's own library ask the same fake endpoint for a token, and ask the same thing.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'

import { Program, program } from './world.mjs'

const scope = 'https://cognitiveservices.azure.com/.default'
const clientId = '11111111-2222-3333-4444-555555555555'
const header = '853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a'

/** Grants a token to whoever asks, and remembers how each asked. tls: what an https server needs. */
async function startEndpoint(tls) {
  const asked = []
  const answer = async (request, response) => {
    const base = `https://${request.headers.host}${request.url.split('/').slice(0, 2).join('/')}`
    response.setHeader('content-type', 'application/json')
    if (request.url.includes('/.well-known/')) { // the library asks for its way; the daemon knows it from the documents
      response.end(JSON.stringify({
        issuer: `${base}/v2.0`, token_endpoint: `${base}/oauth2/v2.0/token`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`, jwks_uri: `${base}/keys`,
      }))
      return
    }
    request.setEncoding('utf8')
    request.text = ''
    for await (const piece of request) request.text += piece
    asked.push(request)
    response.end(JSON.stringify({ ...(request.method === 'POST' && { expires_in: 3600 }),
      access_token: 'a-token', expires_on: String(Math.floor(Date.now() / 1000) + 3600),
      resource: scope.replace('/.default', ''), token_type: 'Bearer',
    }))
  }
  const server = (tls ? createSecureServer(tls, answer) : createServer(answer)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, asked, url: `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}` }
}

// What the documents have; the library adds what tells Microsoft about itself.
const formNames = new Set(['client_id', 'scope', 'grant_type', 'client_secret', 'client_assertion', 'client_assertion_type'])

/** What of a request matters to the services. */
function essence(request) {
  const url = new URL(request.url, 'http://endpoint')
  return {
    method: request.method,
    path: url.pathname.replace(/\/$/, ''), // the library ends every URL in a slash; Microsoft's documents do not
    query: Object.fromEntries([...url.searchParams].filter(([name]) => name !== 'client-request-id').sort()), // a trace's
    secret: request.headers['x-identity-header'],
    metadata: request.headers.metadata,
    type: request.method === 'POST' && request.headers['content-type'].split(';')[0], // of a GET it says nothing
    form: Object.fromEntries([...new URLSearchParams(request.text)].filter(([name]) => formNames.has(name)).sort()),
  }
}

/** Runs with these variables, and without any others that choose an identity's form. */
async function withEnvironment(variables, run) {
  const names = ['IDENTITY_ENDPOINT', 'IDENTITY_HEADER', 'AZURE_POD_IDENTITY_AUTHORITY_HOST', 'MSI_ENDPOINT', 'MSI_SECRET',
    'IMDS_ENDPOINT', 'IDENTITY_SERVER_THUMBPRINT', 'AZURE_CLIENT_ID', 'AZURE_FEDERATED_TOKEN_FILE', 'SSL_CERT_FILE',
    'NODE_EXTRA_CA_CERTS']
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

async function askAsDaemon(endpoint, auth) {
  const directory = mkdtempSync(join(tmpdir(), 'aoai-lb-identity-'))
  const path = join(directory, 'config.json')
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
  import * as library from '@azure/identity'
  const [name, options, scope] = process.argv.slice(1)
  const { token } = await new library[name](...JSON.parse(options)).getToken(scope)
  console.log(token)
`

/** credential: the library's class; options: its constructor's. */
async function askAsLibrary(endpoint, credential, options) {
  const before = endpoint.asked.length
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--input-type=module', '-e', question, credential, JSON.stringify(options), scope],
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
        const auth = { type: 'managed_identity', ...(id && { client_id: id }) }
        assert.deepEqual(await askAsDaemon(endpoint, auth),
          await askAsLibrary(endpoint, 'ManagedIdentityCredential', id ? [{ clientId: id }] : []))
      })
    })
  }
}

// ---- Entra ID ------------------------------------------------------------------------------------------------------

const tenantId = '72f988bf-86f1-41af-91ab-2d7cd011db47'
const secret = 's3cr3t~with/odd+bytes&= and a space'
const directory = mkdtempSync(join(tmpdir(), 'aoai-lb-authority-'))
const [certificate, key, statement] = ['certificate', 'key', 'statement'].map((name) => join(directory, name))
execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
  '-subj', '/CN=authority', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate], { stdio: 'pipe' })
writeFileSync(statement, 'eyJhbGciOiJSUzI1NiJ9.c3RhdGVtZW50.c2lnbmVk')
const authority = await startEndpoint({ cert: readFileSync(certificate), key: readFileSync(key) })
after(() => {
  authority.server.close()
  rmSync(directory, { recursive: true })
})
const auth = { client_id: clientId, tenant_id: tenantId, authority_host: authority.url }
const options = { authorityHost: authority.url, disableInstanceDiscovery: true }

test('both show Entra ID an application\'s secret alike', async () => {
  await withEnvironment({ SSL_CERT_FILE: certificate, NODE_EXTRA_CA_CERTS: certificate }, async () => {
    const asked = await askAsDaemon(authority, { ...auth, type: 'client_secret', client_secret: secret })
    assert.equal(asked.form.client_secret, secret)
    assert.deepEqual(asked, await askAsLibrary(authority, 'ClientSecretCredential', [tenantId, clientId, secret, options]))
  })
})

test('both show Entra ID a workload\'s statement alike', async () => {
  const variables = { SSL_CERT_FILE: certificate, NODE_EXTRA_CA_CERTS: certificate, AZURE_FEDERATED_TOKEN_FILE: statement }
  await withEnvironment(variables, async () => {
    const asked = await askAsDaemon(authority, { ...auth, type: 'workload_identity' })
    assert.equal(asked.form.client_assertion, readFileSync(statement, 'utf8'))
    assert.deepEqual(asked, await askAsLibrary(authority, 'WorkloadIdentityCredential',
      [{ ...options, tenantId, clientId, tokenFilePath: statement }]))
  })
})
