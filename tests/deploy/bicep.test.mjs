// The Bicep files: each by itself, then what a deployment of them would make, for the choices that an operator has.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'

import { parse, readBicep } from './bicep.mjs'
import { deploy } from './evaluate.mjs'
import { at, checkConfig, files } from './files.mjs'

const main = at('deploy/infra/main.bicep')
const required = { environmentName: 'my-env', location: 'westeurope' }
const openAiUser = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'
const acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'

const of = ({ resources }, type) => resources.filter((resource) => resource.type === type).map(({ body }) => body)
const one = (deployment, type) => {
  const [body, ...more] = of(deployment, type)
  assert.ok(body && more.length === 0, `one ${type}`)
  return body
}
const app = (deployment) => one(deployment, 'Microsoft.App/containerApps')
const configOf = (deployment) =>
  JSON.parse(app(deployment).properties.configuration.secrets.find(({ name }) => name === 'config').value)
const accountsOf = (deployment) => of(deployment, 'Microsoft.CognitiveServices/accounts')
const deploymentsOf = (deployment, account) =>
  of(deployment, 'Microsoft.CognitiveServices/accounts/deployments').filter(({ parent }) => parent.name === account.name)

/** The container's environment, with the values that its secrets would have. */
function environmentOf(deployment) {
  const { configuration, template } = app(deployment).properties
  return Object.fromEntries(template.containers[0].env.map(({ name, value, secretRef }) =>
    [name, value ?? configuration.secrets.find((secret) => secret.name === secretRef).value]))
}

describe('the checker finds', () => {
  const header = (path) => `${path}/checked.bicep`
  const found = {
    'a syntax error': ["param a string = 'x'\nvar b = {\n", /syntax error/],
    'a name that nothing declares': ["output a string = nothing\n", /nothing declares nothing/],
    'such a name in a string': ["output a string = 'x-${nothing}'\n", /nothing declares nothing/],
    'such a name in a loop': ['output a array = [for x in [1]: y]\n', /nothing declares y/],
    'such a name in a lambda': ['output a array = map([1], x => y.name)\n', /nothing declares y/],
    'an unknown function': ["output a string = toUper('x')\n", /no function toUper/],
    'a parameter that nothing uses': ["param a string = 'x'\n", /a is not used/],
    'a variable that nothing uses': ["var a = 'x'\n", /a is not used/],
    'a name declared twice': ["var a = 'x'\nvar a = 'y'\noutput b string = a\n", /declared twice/],
    'a secret with a default': ["@secure()\nparam a string = 'x'\noutput b string = a\n", /has a default/],
    'a preview version': ["resource a 'Microsoft.App/containerApps@2024-02-02-preview' = {\n  name: 'a'\n}\n", /no type with a version/],
    'a parameter that a module has not':
      ["module a 'logs.bicep' = {\n  name: 'a'\n  params: {\n    name: 'a'\n    location: 'b'\n    tags: {}\n    retentionDays: 30\n    color: 1\n  }\n}\n", /is given color/],
    'a parameter that a module misses': ["module a 'logs.bicep' = {\n  name: 'a'\n  params: {\n    name: 'a'\n  }\n}\n", /must be given location/],
    'an output that a module has not':
      ["module a 'image.bicep' = {\n  name: 'a'\n  params: {\n    name: 'a'\n    exists: true\n  }\n}\noutput b string = a.outputs.picture\n", /no output picture/],
    'a secret that is handed on in the open':
      ["@secure()\nparam s string\nmodule a 'image.bicep' = {\n  name: 'a'\n  params: {\n    name: s\n    exists: true\n  }\n}\n", /secret s and is none itself/],
  }
  for (const [what, [text, fault]] of Object.entries(found))
    test(what, () => {
      const { faults } = parse(header(at('deploy/infra')), text)
      assert.match(faults.join('\n'), fault)
    })
})

describe('each Bicep file', () => {
  const paths = files('deploy/infra', '.bicep')
  assert.ok(paths.length >= 8)
  for (const path of paths) test(`${path} has no fault`, () => assert.deepEqual(readBicep(at(path)).faults, []))

  test('every module is used, and every module file is one of the tree', () => {
    const used = paths.flatMap((path) => [...readBicep(at(path)).modules.values()].map(({ source }) => source))
    assert.deepEqual([...new Set(used)].sort(), paths.map(at).filter((path) => path !== main).sort())
  })

  test('the resource group is made by the subscription', () => assert.equal(readBicep(main).scope, 'subscription'))
})

describe('a deployment with nothing but a name and a region', () => {
  const made = deploy(main, required)

  test('has three Azure OpenAI resources in regions of their own, with keys turned off', () => {
    const accounts = accountsOf(made)
    assert.equal(accounts.length, 3)
    assert.equal(new Set(accounts.map(({ location }) => location)).size, 3)
    for (const { name, kind, properties } of accounts) {
      assert.match(name, /^openai[123]-/)
      assert.equal(kind, 'OpenAI')
      assert.equal(properties.customSubDomainName, name)
      assert.equal(properties.disableLocalAuth, true)
    }
  })

  test('has a chat and an embedding deployment of 30,000 tokens per minute on each, made one at a time', () => {
    for (const account of accountsOf(made)) {
      const deployments = deploymentsOf(made, account)
      assert.deepEqual(deployments.map(({ name }) => name), ['chat', 'embedding'])
      for (const { sku } of deployments) assert.deepEqual(sku, { name: 'GlobalStandard', capacity: 30 })
    }
    const [batch] = readBicep(at('deploy/infra/openai.bicep')).resources.get('modelDeployment').decorators
    assert.equal(batch.text, 'batchSize(1)')
  })

  test('lets its one identity call each resource and pull from the registry, and nothing else', () => {
    const roles = of(made, 'Microsoft.Authorization/roleAssignments')
    const granted = roles.map(({ scope, properties }) => [scope.name, properties.roleDefinitionId.split('/').at(-1)])
    const registry = one(made, 'Microsoft.ContainerRegistry/registries')
    assert.deepEqual(granted.sort(), [...accountsOf(made).map(({ name }) => [name, openAiUser]), [registry.name, acrPull]].sort())
    const principals = new Set(roles.map(({ properties }) => properties.principalId))
    assert.deepEqual([...principals], [made.outputs.SERVICE_AOAI_LB_IDENTITY_PRINCIPAL_ID])
    assert.equal(new Set(roles.map(({ name }) => name)).size, roles.length)
    assert.equal(registry.properties.adminUserEnabled, false)
  })

  test('sends its log lines to Log Analytics', () => {
    const { appLogsConfiguration } = one(made, 'Microsoft.App/managedEnvironments').properties
    // The workspace's own id, not that of its resource.
    assert.deepEqual(appLogsConfiguration, {
      destination: 'log-analytics',
      logAnalyticsConfiguration: { customerId: 'ffffffff-9999-4aaa-8bbb-cccccccccccc', sharedKey: 'the-shared-key' },
    })
  })

  test('holds no key: not of a resource, not in the configuration', () => {
    const { secrets } = app(made).properties.configuration
    assert.deepEqual(secrets.map(({ name }) => name), ['config'])
    for (const { auth } of configOf(made).backends)
      assert.deepEqual(auth, { type: 'managed_identity', client_id: '${AZURE_CLIENT_ID}' })
  })

  test('is reached over TLS alone, on the port on which the daemon listens, from everywhere', () => {
    const { ingress } = app(made).properties.configuration
    assert.equal(ingress.targetPort, configOf(made).listen.port)
    assert.deepEqual([ingress.external, ingress.allowInsecure, ingress.ipSecurityRestrictions], [true, false, []])
  })

  test('gives the configuration to the daemon where that looks for it', () => {
    const { volumes, containers } = app(made).properties.template
    assert.deepEqual(volumes[0].secrets, [{ secretRef: 'config', path: 'config.json' }])
    assert.deepEqual(containers[0].volumeMounts, [{ volumeName: volumes[0].name, mountPath: '/etc/aoai-lb' }])
  })

  test('scales by processor time, never by requests, and never to none', () => {
    const { scale } = app(made).properties.template
    assert.ok(scale.minReplicas >= 1)
    assert.deepEqual(scale.rules.map((rule) => [Object.keys(rule), rule.custom.type]), [[['name', 'custom'], 'cpu']])
  })

  test('names everything as Azure allows it, and tags it for azd', () => {
    const rules = {
      'Microsoft.Resources/resourceGroups': /^[\w.()-]{1,89}[\w()-]$/,
      'Microsoft.ManagedIdentity/userAssignedIdentities': /^[A-Za-z0-9][\w-]{2,127}$/,
      'Microsoft.CognitiveServices/accounts': /^[a-z0-9][a-z0-9-]{0,62}[a-z0-9]$/,
      'Microsoft.CognitiveServices/accounts/deployments': /^[A-Za-z0-9][A-Za-z0-9._-]{1,63}$/,
      'Microsoft.ContainerRegistry/registries': /^[a-z0-9]{5,50}$/,
      'Microsoft.OperationalInsights/workspaces': /^[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]$/,
      'Microsoft.App/managedEnvironments': /^[a-z][a-z0-9-]{0,58}[a-z0-9]$/,
      'Microsoft.App/containerApps': /^(?!.*--)[a-z][a-z0-9-]{0,30}[a-z0-9]$/,
      'Microsoft.Authorization/roleAssignments': /^[0-9a-f-]{36}$/,
    }
    const longest = deploy(main, { ...required, environmentName: 'e'.repeat(64) })
    for (const { type, body } of [...made.resources, ...longest.resources]) {
      assert.match(body.name, rules[type], type)
      if (body.location) assert.equal(body.tags['azd-env-name'] !== undefined, true, `${type} has no azd-env-name`)
    }
  })
})

describe('the container app', () => {
  const first = deploy(main, required)
  const later = deploy(main, { ...required, appExists: true, drainDelaySeconds: 7, drainSeconds: 200 })
  const container = (deployment) => app(deployment).properties.template.containers[0]
  const probes = (deployment) =>
    Object.fromEntries(container(deployment).probes.map(({ type, httpGet }) => [type, httpGet.path]))

  test('runs a placeholder that its probes suit until azd has deployed it', () => {
    assert.match(container(first).image, /^mcr\.microsoft\.com\//)
    assert.deepEqual(probes(first), { Startup: '/healthz', Liveness: '/healthz', Readiness: '/healthz' })
  })

  test('keeps the image that azd deployed, and has probes on /healthz and /readyz', () => {
    assert.match(container(later).image, /azd-deploy/)
    assert.deepEqual(probes(later), { Startup: '/healthz', Liveness: '/healthz', Readiness: '/readyz' })
    for (const { httpGet } of container(later).probes) assert.equal(httpGet.port, 8080)
  })

  test('gets as long to stop as a drain takes, and 5 seconds', () => {
    const { timeouts } = configOf(later)
    assert.deepEqual([timeouts.drain_delay_ms, timeouts.drain_ms], [7000, 200_000])
    assert.equal(app(later).properties.template.terminationGracePeriodSeconds, 7 + 200 + 5)
    const longest = deploy(main, { ...required, drainDelaySeconds: 60, drainSeconds: 500 })
    assert.ok(app(longest).properties.template.terminationGracePeriodSeconds <= 600, 'more than Container Apps allows')
  })

  test('comes after the roles that it needs', () => {
    assert.match(readBicep(main).modules.get('app').value.text, /^ *dependsOn: \[openAi\]$/m)
  })

  test('runs in its environment, as its identity, with as much memory as goes with its processor', () => {
    const { environmentId, configuration } = app(first).properties
    assert.equal(environmentId, `/Microsoft.App/managedEnvironments/${one(first, 'Microsoft.App/managedEnvironments').name}`)
    assert.equal(configuration.registries[0].server, first.outputs.AZURE_CONTAINER_REGISTRY_ENDPOINT)
    assert.equal(environmentOf(first).AZURE_CLIENT_ID, 'ffffffff-1111-4222-8333-444444444444')
    const { cpu, memory } = container(first).resources
    assert.equal(memory, `${2 * cpu}Gi`) // the one size for each that the Consumption profile takes
  })

  test('gives up before the ingress does', () => assert.ok(configOf(first).timeouts.request_ms < 240_000))

  test('pulls its image by the identity that may', () => {
    const { identity, properties } = app(first)
    const [id] = Object.keys(identity.userAssignedIdentities)
    assert.deepEqual(properties.configuration.registries.map((registry) => registry.identity), [id])
  })

  test('is a new revision where its configuration is another', () => {
    const version = (deployment) => environmentOf(deployment).CONFIG_VERSION
    assert.notEqual(version(first), version(later))
    assert.equal(version(first), version(deploy(main, required)))
  })
})

describe('choices', () => {
  test('a key for callers is a secret and nothing but a reference elsewhere', () => {
    const made = deploy(main, { ...required, clientKey: 'the-callers-key' })
    assert.deepEqual(configOf(made).clients, [{ name: 'chat-app', key: '${CLIENT_KEY}' }])
    const { configuration, template } = app(made).properties
    assert.deepEqual(configuration.secrets.find(({ name }) => name === 'client-key'), { name: 'client-key', value: 'the-callers-key' })
    assert.doesNotMatch(JSON.stringify(template), /the-callers-key/)
    assert.doesNotMatch(JSON.stringify(made.outputs), /the-callers-key/)
  })

  test('the key can be a reference to a Key Vault, which the identity reads', () => {
    const url = 'https://my-vault.vault.azure.net/secrets/client-key'
    const made = deploy(main, { ...required, clientKeyVaultUrl: url })
    const { identity, properties } = app(made)
    const [id] = Object.keys(identity.userAssignedIdentities)
    assert.deepEqual(properties.configuration.secrets[1], { name: 'client-key', keyVaultUrl: url, identity: id })
    assert.equal(configOf(made).clients.length, 1)
  })

  test('allowed addresses become the only ones', () => {
    const made = deploy(main, { ...required, allowedIpRanges: '203.0.113.0/24, 198.51.100.7/32,' })
    const { ipSecurityRestrictions } = app(made).properties.configuration.ingress
    assert.deepEqual(ipSecurityRestrictions.map(({ action, ipAddressRange }) => [action, ipAddressRange]),
      [['Allow', '203.0.113.0/24'], ['Allow', '198.51.100.7/32']])
  })

  test('the capacity is that of every standard deployment', () => {
    const made = deploy(main, { ...required, openAiCapacity: 50 })
    for (const { sku } of of(made, 'Microsoft.CognitiveServices/accounts/deployments')) assert.equal(sku.capacity, 50)
  })

  test('models and their versions are those of the deployments, and the provisioned one may have another', () => {
    const made = deploy(main, {
      ...required, openAiLocations: 'swedencentral', provisionedCapacity: 15, contentFilter: 'mine',
      chatModelName: 'c', chatModelVersion: '1', chatSkuName: 'Standard', embeddingModelName: 'e', embeddingModelVersion: '2',
      embeddingSkuName: 'DataZoneStandard', provisionedModelName: 'p', provisionedModelVersion: '3',
    })
    const seen = of(made, 'Microsoft.CognitiveServices/accounts/deployments').map(({ name, sku, properties: { model, raiPolicyName } }) =>
      [name, sku.name, model.format, model.name, model.version, raiPolicyName])
    assert.deepEqual(seen, [['chat', 'Standard', 'OpenAI', 'c', '1', 'mine'], ['embedding', 'DataZoneStandard', 'OpenAI', 'e', '2', 'mine'],
      ['chat-provisioned', 'ProvisionedManaged', 'OpenAI', 'p', '3', 'mine']])
  })

  test('a network of one\'s own: nothing is reached from outside', () => {
    const subnet = '/subscriptions/s/resourceGroups/r/providers/Microsoft.Network/virtualNetworks/v/subnets/aca'
    const network = (made) => one(made, 'Microsoft.App/managedEnvironments').properties.vnetConfiguration
    const open = deploy(main, required)
    const closed = deploy(main, { ...required, ingressExternal: false, openAiPublicNetworkAccess: 'Disabled', infrastructureSubnetId: subnet })
    const access = (made) => accountsOf(made).map(({ properties }) => [properties.publicNetworkAccess, properties.networkAcls.defaultAction])
    assert.deepEqual(access(open), Array(3).fill(['Enabled', 'Allow']))
    assert.deepEqual(access(closed), Array(3).fill(['Disabled', 'Deny']))
    assert.deepEqual([network(open), network(closed)], [null, { infrastructureSubnetId: subnet }])
    assert.equal(app(closed).properties.configuration.ingress.external, false)
  })

  test('keys, replicas and the log\'s age are as asked for', () => {
    const made = deploy(main, { ...required, disableOpenAiKeys: false, minReplicas: 2, maxReplicas: 5, logRetentionDays: 90 })
    for (const { properties } of accountsOf(made)) assert.equal(properties.disableLocalAuth, false)
    const { minReplicas, maxReplicas } = app(made).properties.template.scale
    assert.deepEqual([minReplicas, maxReplicas], [2, 5])
    assert.equal(one(made, 'Microsoft.OperationalInsights/workspaces').properties.retentionInDays, 90)
  })

  test('other regions are other resources', () => {
    const made = deploy(main, { ...required, openAiLocations: 'francecentral, polandcentral' })
    assert.deepEqual(accountsOf(made).map(({ location }) => location), ['francecentral', 'polandcentral'])
    assert.equal(configOf(made).backends.length, 2)
  })

  for (const sku of ['ProvisionedManaged', 'GlobalProvisionedManaged', 'DataZoneProvisionedManaged'])
    test(`${sku}: comes first, and spills over to the standard deployments, on the same resource, too`, () => {
      const made = deploy(main, { ...required, provisionedCapacity: 100, provisionedSkuName: sku, provisionedResource: 2 })
      const [, second] = accountsOf(made)
      assert.deepEqual(accountsOf(made).map((account) => deploymentsOf(made, account).length), [2, 3, 2])
      const provisioned = deploymentsOf(made, second)[2]
      assert.deepEqual(provisioned.sku, { name: sku, capacity: 100 })
      const { backends } = configOf(made)
      assert.deepEqual(backends.map(({ name, priority }) => [name.replace(/-[0-9a-f]{13}/, ''), priority]),
        [['openai2-provisioned', 1], ['openai1', 2], ['openai2', 2], ['openai3', 2]])
      assert.equal(backends[0].url, backends[2].url)
      assert.deepEqual(backends[0].deployments, { 'gpt-4.1-mini': provisioned.name, chat: provisioned.name })
    })

  test('a provisioned deployment on a resource that is not there is refused, not left out', () => {
    const beyond = { ...required, openAiLocations: 'francecentral,polandcentral', provisionedResource: 3 }
    assert.throws(() => deploy(main, { ...beyond, provisionedCapacity: 15 }), assert.AssertionError)
    assert.equal(accountsOf(deploy(main, beyond)).length, 2)
  })

  test('a backend serves the names that its resource has, and those of the models', () => {
    const made = deploy(main, { ...required, provisionedCapacity: 15 })
    for (const { url, deployments } of configOf(made).backends) {
      const account = accountsOf(made).find(({ name }) => url === `https://${name}.openai.azure.com`)
      const there = deploymentsOf(made, account).map(({ name }) => name)
      for (const target of Object.values(deployments)) assert.ok(there.includes(target), `${url} has no ${target}`)
    }
    const standard = configOf(made).backends.at(-1)
    assert.deepEqual(Object.keys(standard.deployments).sort(), ['chat', 'embedding', 'gpt-4.1-mini', 'text-embedding-3-large'])
  })

  test('a value that Azure would refuse is refused before', () => {
    const wrong = [{ provisionedSkuName: 'Provisioned' }, { openAiCapacity: 0 }, { environmentName: '' }, { logFormat: 'xml' },
      { drainSeconds: 0 }, { drainDelaySeconds: 61 }, { minReplicas: 0 }]
    for (const parameters of wrong)
      assert.throws(() => deploy(main, { ...required, ...parameters }), assert.AssertionError, JSON.stringify(parameters))
  })

  const variants = {
    'the least': {},
    'a key for callers': { clientKey: 'a-long-key' },
    'a provisioned deployment': { provisionedCapacity: 100 },
    'JSON in the log': { logFormat: 'json' },
    'deployments named after their models': { chatDeploymentName: 'gpt-4.1-mini', embeddingDeploymentName: 'text-embedding-3-large' },
    'one region': { openAiLocations: 'swedencentral' },
    'the longest drain': { drainDelaySeconds: 60, drainSeconds: 500 },
  }
  for (const [variant, parameters] of Object.entries(variants))
    test(`the daemon takes its configuration: ${variant}`, () => {
      const made = deploy(main, { ...required, ...parameters })
      checkConfig(configOf(made), environmentOf(made))
    })
})
