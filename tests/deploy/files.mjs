// What the tests look at: files of the tree, and the programs.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { loadAll, YAML11_SCHEMA } from 'js-yaml'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const at = (path) => join(root, path)
export const textOf = (path) => readFileSync(at(path), 'utf8')
export const jsonOf = (path) => JSON.parse(textOf(path))
/** The documents of a YAML file; YAML 1.1 is what compose, Kubernetes and azd read. A key given twice is an error. */
export const yamlOf = (path) => loadAll(textOf(path), { schema: YAML11_SCHEMA })

/** The files of a directory and those beneath it that end so. */
export function files(directory, ...ends) {
  return readdirSync(at(directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ends.some((end) => entry.name.endsWith(end)))
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length)).sort()
}

export function program(variable, name) {
  const built = ['debug', 'release'].map((preset) => at(`build/${preset}/${name}`)).find((path) => existsSync(path))
  const path = process.env[variable] ?? built
  assert.ok(path, `no ${name} is built; set ${variable}`)
  return path
}

/** Has the daemon itself judge a configuration, with nothing in its environment but what is given. */
export function checkConfig(config, environment = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'aoai-lb-deploy-'))
  try {
    const file = join(directory, 'config.json')
    writeFileSync(file, typeof config === 'string' ? config : JSON.stringify(config))
    return run(['--config', file, '--check-config'], environment)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Runs the daemon with these arguments; fails unless it ends with 0. */
export function run(args, environment) {
  const done = spawnSync(program('AOAI_LB', 'aoai-lb'), args, { env: environment, encoding: 'utf8', timeout: 60_000 })
  assert.equal(done.status, 0, `${done.error ?? ''}${done.stdout}${done.stderr}`)
  return done.stdout
}
