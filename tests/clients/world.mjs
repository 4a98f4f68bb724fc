// What the tests stand on: a daemon in front of simulated Azure OpenAI resources, all of it on free ports.
//
// One world serves the tests of a suite. What one test does to a backend must not be felt by the next, so each test
// takes a deployment of its own (the daemon rests a backend by deployment) and sets the simulator's faults anew.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const sanitizerReport = /ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:/
const startMilliseconds = 30_000
const stopMilliseconds = 15_000

// Names that tests may use up, as callers say them and as the simulator does (which takes 64 deployments).
const namesInAll = 64
const callersName = (number) => `chat-${number}`
const backendsName = (number) => `gpt-4o-${number}`
const numbers = Array.from({ length: namesInAll }, (_, number) => number)

/** The daemon's backends, in the order in which they are tried. */
export const backends = ['one', 'two', 'three', 'four']
// Deployments whose first backend refuses connections. It then rests as a whole, so each has one of its own.
const refusedInAll = 8
const refusedName = (number) => `refused-${number}`
const refusedNumbers = numbers.slice(0, refusedInAll)

const deploymentMap = Object.fromEntries([
  ...numbers.map((number) => [callersName(number), backendsName(number)]),
  ...refusedNumbers.map((number) => [refusedName(number), backendsName(0)]),
])

export const apiVersion = '2024-10-21'
export const completionTokens = 24

/** What the simulator's models say, whatever they are asked: the first completionTokens words. */
export const wholeText = 'This answer comes from a simulator: it neither reads nor understands what it is asked, ' +
  'but every chunk, field and error'

// The programs go with the tests, however these end.
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))

/** The path of a program that was built. */
export function program(variable, name) {
  if (process.env[variable]) return process.env[variable]
  for (const preset of ['debug', 'release']) {
    const path = join(root, 'build', preset, name)
    if (existsSync(path)) return path
  }
  throw new Error(`no ${name} is built; set ${variable}`)
}

/** A child process and what it says, line by line. */
export class Program {
  constructor(path, args) {
    this.lines = []
    this.errors = ''
    this.child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.ended = once(this.child, 'exit')
    this.reader = createInterface({ input: this.child.stdout })
    this.reader.on('line', (line) => this.lines.push(line))
    this.child.stderr.on('data', (data) => (this.errors += data))
    this.kill = () => this.child.kill('SIGKILL')
    process.on('exit', this.kill)
  }

  /** The first line that matches. */
  async line(pattern) {
    const deadline = AbortSignal.timeout(startMilliseconds)
    for (;;) {
      const found = this.lines.map((line) => pattern.exec(line)).find(Boolean)
      if (found) return found
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}: ${this.errors}`)
      await Promise.race([once(this.reader, 'line', { signal: deadline }), this.ended])
    }
  }

  /** Ends it in good order; a sanitizer's report is a fault. */
  async stop() {
    process.off('exit', this.kill)
    const timer = setTimeout(this.kill, stopMilliseconds)
    this.child.kill('SIGTERM')
    const [code, signal] = await this.ended
    clearTimeout(timer)
    assert.equal(signal, null, `it did not stop on SIGTERM\n${this.errors}`)
    assert.equal(code, 0, this.errors)
    assert.doesNotMatch(this.errors, sanitizerReport)
  }
}

class World {
  constructor(directory) {
    this.directory = directory
    this.taken = 1 // 0 is for the refused ones
    this.refused = 0
  }

  /** A deployment that no test has used. */
  deployment() {
    assert.ok(this.taken < namesInAll, 'a suite has used up all deployments')
    return callersName(this.taken++)
  }

  /** A deployment whose first backend refuses connections. */
  refusedDeployment() {
    assert.ok(this.refused < refusedInAll, 'a suite has used up all deployments that are refused first')
    return refusedName(this.refused++)
  }

  async control(method, path, body) {
    const url = `http://127.0.0.1:${this.controlPort}${path}`
    const answer = await fetch(url, { method, body: body && JSON.stringify(body), headers: { connection: 'close' } })
    const json = await answer.json()
    assert.equal(answer.status, 200, JSON.stringify(json))
    return json
  }

  /** Each backend does its own thing wrong, from now on: { one: fault, two: [fault, fault] }. */
  async spoil(faultsOf) {
    await this.control('POST', '/reset')
    const list = Object.entries(faultsOf).flatMap(([resource, faults]) =>
      [faults].flat().map((fault) => ({ ...fault, resource })))
    if (list.length > 0) await this.control('POST', '/faults', list)
  }

  /** The requests that arrived at the simulator since the last spoil(), oldest first. */
  async requests() {
    const { requests } = await this.control('GET', '/stats')
    return requests.map((request) => ({ ...request, headers: new Headers(request.headers) }))
  }

  async stop() {
    try {
      await this.daemon.stop()
      await this.simulator.stop()
    } finally {
      rmSync(this.directory, { recursive: true, force: true })
    }
  }

  write(name, content) {
    const path = join(this.directory, name)
    writeFileSync(path, JSON.stringify(content, null, 2))
    return path
  }
}

function simulatorConfig() {
  const deployment = { model: 'gpt-4o-2024-11-20', completion_tokens: completionTokens }
  const deployments = Object.fromEntries(numbers.map((number) => [backendsName(number), deployment]))
  return {
    record: 64,
    control: { port: 0 },
    resources: backends.map((name) => ({ name, api_key: keyOf(name), deployments })),
  }
}

export function keyOf(backend) {
  return `key-of-${backend}`
}

function daemonConfig(ports, changes) {
  return {
    listen: { address: '127.0.0.1', port: 0 },
    admin: { address: '127.0.0.1', port: 0 },
    backends: [
      ...refusedNumbers.map((number) => ({
        name: `nobody-${number}`,
        url: 'http://127.0.0.1:1', // where nobody listens
        auth: { type: 'api_key', key: 'nobody' },
        deployments: { [refusedName(number)]: backendsName(0) },
      })),
      ...Object.entries(ports).map(([name, port], index) => ({
        name,
        url: `http://127.0.0.1:${port}`,
        priority: index + 2,
        auth: { type: 'api_key', key: keyOf(name) },
        deployments: deploymentMap,
      })),
    ],
    timeouts: { response_ms: 1000, first_event_ms: 1000 },
    ...changes,
  }
}

/** Starts a world. changes: top-level members of the daemon's configuration. */
export async function startWorld(changes = {}) {
  const world = new World(mkdtempSync(join(tmpdir(), 'aoai-lb-clients-')))
  const ports = {}
  world.simulator = new Program(program('AOAI_SIM', 'aoai-sim'),
    ['--config', world.write('simulator.json', simulatorConfig()), '--print-ports'])
  for (const name of backends) ports[name] = Number((await world.simulator.line(new RegExp(`^${name} (\\d+)$`)))[1])
  world.controlPort = Number((await world.simulator.line(/^control (\d+)$/))[1])
  world.daemon = new Program(program('AOAI_LB', 'aoai-lb'),
    ['--config', world.write('config.json', daemonConfig(ports, changes))])
  world.port = Number((await world.daemon.line(/Listening on http:\/\/\S*?:(\d+)(?![\d.])/))[1])
  world.url = `http://127.0.0.1:${world.port}`
  return world
}
