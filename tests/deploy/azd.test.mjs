// What azd reads: azure.yaml, main.parameters.json, and how they hang together with the Bicep files and the tree.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { describe, test } from 'node:test'

import Ajv from 'ajv'

import { literal, readBicep } from './bicep.mjs'
import { deploy } from './evaluate.mjs'
import { at, jsonOf, textOf, yamlOf } from './files.mjs'

const [project] = yamlOf('azure.yaml')
const parametersFile = 'deploy/infra/main.parameters.json'
const { parameters } = jsonOf(parametersFile)
const main = readBicep(at('deploy/infra/main.bicep'))

// The part of azd's schema that a container app needs, and nothing beside it: a misspelt key would be passed over.
const object = (properties, required = Object.keys(properties)) =>
  ({ type: 'object', properties, required, additionalProperties: false })
const text = { type: 'string', minLength: 1 }
const schema = object({
  name: { type: 'string', pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])$' },
  metadata: object({ template: { type: 'string', pattern: '^[a-z0-9-]+@\\d+\\.\\d+\\.\\d+$' } }),
  infra: object({ provider: { const: 'bicep' }, path: text, module: text }),
  services: {
    type: 'object',
    minProperties: 1,
    propertyNames: { pattern: '^[a-z0-9-]+$' },
    additionalProperties: object({
      project: text,
      host: { const: 'containerapp' },
      language: { const: 'docker' },
      docker: object({ path: text, context: text, platform: { const: 'amd64' }, remoteBuild: { const: true } }),
    }),
  },
  workflows: object({ up: object({ steps: { type: 'array', items: object({ azd: text }) } }) }, []),
}, ['name', 'infra', 'services'])

describe('azure.yaml', () => {
  test('has what azd reads, and nothing misspelt', () => {
    const ajv = new Ajv({ allErrors: true })
    assert.ok(ajv.validate(schema, project), ajv.errorsText())
  })

  test('names files that exist', () => {
    assert.ok(existsSync(at(`${project.infra.path}/${project.infra.module}.bicep`)))
    assert.ok(existsSync(at(`${project.infra.path}/${project.infra.module}.parameters.json`)))
    const { project: directory, docker } = project.services['aoai-lb']
    assert.ok(existsSync(at(`${directory}/${docker.path}`)))
    assert.ok(existsSync(at(`${directory}/${docker.context}/.dockerignore`)))
  })

  test('has the service that the container app is tagged for, and its outputs are named after', () => {
    const made = deploy(main.path, { environmentName: 'e', location: 'westeurope' })
    const app = made.resources.find(({ type }) => type === 'Microsoft.App/containerApps').body
    assert.deepEqual(Object.keys(project.services), [app.tags['azd-service-name']])
    assert.equal(made.outputs.SERVICE_AOAI_LB_NAME, app.name)
    for (const name of ['CONTAINER_APP_URL', 'SERVICE_AOAI_LB_NAME', 'SERVICE_AOAI_LB_URI', 'SERVICE_AOAI_LB_IMAGE_NAME',
      'AZURE_CONTAINER_REGISTRY_ENDPOINT', 'AZURE_LOCATION', 'AZURE_RESOURCE_GROUP', 'AZURE_TENANT_ID'])
      assert.ok(main.outputs.has(name), name)
    assert.match(made.outputs.CONTAINER_APP_URL, /^https:\/\/[^/]+$/)
  })

  test('deploys what is provisioned, and provisions again what the first deployment changes', () => {
    assert.deepEqual(project.workflows.up.steps.map(({ azd }) => azd.split(' ')[0]), ['package', 'provision', 'deploy', 'provision'])
  })
})

describe('main.parameters.json', () => {
  const values = Object.entries(parameters).map(([name, { value, ...rest }]) => {
    const [, variable, fallback] = /^\$\{([A-Z0-9_]+)(?:=(.*))?\}$/.exec(value) ?? []
    return { name, value, rest, variable, fallback }
  })

  test('sets each parameter of main.bicep, and no other, each from one environment variable of its own', () => {
    assert.deepEqual(Object.keys(parameters).sort(), [...main.parameters.keys()].sort())
    for (const { name, value, rest, variable } of values) {
      assert.ok(variable, `${name}: ${value}`)
      assert.deepEqual(rest, {})
    }
    assert.equal(new Set(values.map(({ variable }) => variable)).size, values.length)
  })

  test('has no lists or objects: azd makes numbers and truth values of a text, but not those', () => {
    for (const { type } of main.parameters.values()) assert.match(type, /^(string|int|bool)$/)
  })

  test('has the names of the documents', () => {
    assert.equal(parameters.environmentName.value, '${AZURE_ENV_NAME}')
    assert.equal(parameters.location.value, '${AZURE_LOCATION}')
    assert.equal(parameters.openAiCapacity.value, '${OPENAI_CAPACITY=30}')
    assert.equal(parameters.appExists.value, '${SERVICE_AOAI_LB_RESOURCE_EXISTS=false}')
  })

  test('has the same defaults as main.bicep', () => {
    for (const { name, variable, fallback } of values) {
      const declared = main.parameters.get(name).value
      if (['AZURE_ENV_NAME', 'AZURE_LOCATION'].includes(variable)) assert.equal(declared, undefined)
      else assert.equal(fallback ?? '', declared.type === 'string' ? literal(declared) : declared.text, name)
    }
  })

  test('keeps the secret out: it has no default anywhere', () => {
    assert.ok(main.parameters.get('clientKey').rules.secure)
    assert.equal(parameters.clientKey.value, '${CLIENT_KEY}')
    assert.doesNotMatch(textOf(parametersFile), /key"?: *"[^$]/i)
  })
})
