// The guide: whatever it names must exist, and whatever the documents do must have its place in it.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'

import { readBicep } from './bicep.mjs'
import { at, jsonOf, textOf } from './files.mjs'

const path = 'deploy/README.md'
const guide = textOf(path)
const blocks = [...guide.matchAll(/^ *```sh\n([\s\S]*?)^ *```/gm)].map(([, text]) => text).join('\n')
const variables = Object.values(jsonOf('deploy/infra/main.parameters.json').parameters)
  .map(({ value }) => /^\$\{([A-Z0-9_]+)(?:=(.*))?\}$/.exec(value))
const outputs = [...readBicep(at('deploy/infra/main.bicep')).outputs.keys()]
// What azd sets by itself, and what belongs to the chat apps.
const azdsOwn = ['AZURE_ENV_NAME', 'AZURE_LOCATION', 'SERVICE_AOAI_LB_RESOURCE_EXISTS']
const chatApps = ['OPENAI_HOST', 'AZURE_OPENAI_CUSTOM_URL', 'AZURE_OPENAI_API_KEY_OVERRIDE']

/** As GitHub names the anchors of headings. */
const anchorsOf = (text) => [...text.replace(/^ *```[\s\S]*?^ *```/gm, '').matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
  title.toLowerCase().replace(/[^\p{L}\p{N} -]/gu, '').replaceAll(' ', '-'))

describe('the guide', () => {
  const commands = ['azd auth login --use-device-code', 'azd config set auth.useAzCliAuth "true"', 'azd up', 'azd env get-values',
    'azd auth login\n', 'azd env new chat-app', 'azd env set OPENAI_HOST azure_custom',
    'azd env set AZURE_OPENAI_CUSTOM_URL <CONTAINER_APP_URL>', 'azd env set OPENAI_CAPACITY 50', 'azd down --purge --force',
    'az cognitiveservices account deployment create', '--sku-name ProvisionedManaged', '--sku-capacity 100', '--model-format OpenAI']
  for (const command of commands) test(`has ${command.trim()}`, () => assert.ok(blocks.includes(command)))

  const subjects = ['CONTAINER_APP_URL', 'Proxying to https://openai3', 'Log stream', 'Provisioned-managed utilization V2',
    'GlobalProvisionedManaged', 'DataZoneProvisionedManaged', 'github.com/codespaces', 'reservation', 'max_retries',
    'azure-openai-benchmark', 'Key Vault', 'Azure Load Testing', 'retry-after-ms']
  for (const subject of subjects) test(`speaks of ${subject}`, () => assert.ok(guide.includes(subject)))

  test('explains each variable that can be set, with its default', () => {
    const table = guide.split('\n').filter((line) => line.startsWith('| `'))
    for (const [, name, fallback] of variables) {
      if (azdsOwn.includes(name)) continue
      assert.ok(guide.includes(name), `${name} is not explained`)
      const row = table.find((line) => line.split('|')[1].includes(`\`${name}\``))
      if (row && fallback) assert.ok(row.includes(`\`${fallback}\``), `${name} has another default than ${fallback}`)
    }
  })

  test('deploys by hand the model that the template deploys: one place knows which is not retired', () => {
    const of = (name) => variables.find(([, variable]) => variable === name)[2]
    const models = [...guide.matchAll(/--model-name (\S+) |modelName=([^&"]+)/g)].map(([, a, b]) => a ?? b)
    const versions = [...guide.matchAll(/--model-version (\S+) |modelVersion=([^&"]+)/g)].map(([, a, b]) => a ?? b)
    assert.deepEqual([...new Set(models)], [of('OPENAI_CHAT_MODEL')])
    assert.deepEqual([...new Set(versions)], [of('OPENAI_CHAT_MODEL_VERSION')])
  })

  test('sets and gets no variable that nothing reads or writes', () => {
    const known = variables.map(([, name]) => name)
    for (const [, name] of guide.matchAll(/azd env set(?:-secret)? ([A-Z0-9_]+)/g))
      if (name !== 'NAME') assert.ok([...known, ...chatApps].includes(name), `azd env set ${name}`)
    for (const [, name] of guide.matchAll(/azd env get-value ([A-Z0-9_]+)/g))
      assert.ok(outputs.includes(name), `azd env get-value ${name}`)
  })

  test('links to files and headings that exist', () => {
    for (const [, target] of guide.matchAll(/\]\((?!https:)([^)]+)\)/g)) {
      const [file, anchor] = target.split('#')
      const there = file ? join(dirname(path), file) : path
      assert.ok(existsSync(at(there)), target)
      if (anchor) assert.ok(anchorsOf(textOf(there)).includes(anchor), target)
    }
  })
})
