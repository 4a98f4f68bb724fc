// Image, compose file, Kubernetes manifests, systemd unit and dev container: read as their programs read them, and their
// configuration judged by the daemon. What needs a container engine is in tests/tools/image_test.py.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, test } from 'node:test'

import Ajv from 'ajv'
import { validate } from 'dockerfile-utils'

import { at, checkConfig, files, jsonOf, textOf, yamlOf } from './files.mjs'

/** The names that a configuration takes from the environment. */
const variablesOf = (config) => [...config.matchAll(/\$\{([A-Z0-9_]+)(:-[^}]*)?\}/g)].map(([, name]) => name)

/** Seconds that a drain takes, and the five that are left for the rest. */
function stopSeconds({ timeouts = {} }) {
  const { drain_delay_ms: delay = 0, drain_ms: drain = 25_000 } = timeouts
  return (delay + drain) / 1000 + 5
}

describe('every file', () => {
  const directories = ['deploy', 'config', '.devcontainer']
  const all = (...ends) => directories.flatMap((directory) => files(directory, ...ends))
  for (const path of all('.json')) test(`${path} is JSON`, () => void jsonOf(path))
  for (const path of ['azure.yaml', ...all('.yaml', '.yml')]) test(`${path} is YAML`, () => assert.ok(yamlOf(path).length > 0))
})

describe('Dockerfile', () => {
  for (const path of ['Dockerfile', '.devcontainer/Dockerfile'])
    test(`${path} has no fault`, () => assert.deepEqual(validate(textOf(path)), []))

  test('a fault would be found', () => assert.notDeepEqual(validate('FROM a\nRUM b\n'), []))

  test('copies nothing that .dockerignore leaves out, and nothing that is not there', () => {
    const kept = textOf('.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    const copied = [...textOf('Dockerfile').matchAll(/^COPY (?!--)(.*)$/gm)].flatMap(([, words]) => words.split(' ').slice(0, -1))
    assert.deepEqual(copied.sort(), kept.sort())
    for (const path of copied) assert.ok(existsSync(at(path)), path)
  })
})

describe('compose file', () => {
  const [compose] = yamlOf('deploy/compose.yaml')
  const services = Object.entries(compose.services)
  const config = textOf('deploy/compose/config.json')
  const simulator = jsonOf('deploy/compose/simulator.json')

  test('locks both containers down', () => {
    for (const [name, service] of services) {
      assert.equal(service.read_only, true, name)
      assert.deepEqual(service.cap_drop, ['ALL'], name)
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name)
      assert.match(service.mem_limit, /^\d+m$/, name)
    }
  })

  test('mounts files that exist, for reading alone', () => {
    for (const [, { volumes }] of services)
      for (const volume of volumes) {
        const [source, target, mode] = volume.split(':')
        assert.ok(existsSync(at(join('deploy', source))), source)
        assert.match(target, /^\/etc\/aoai-(lb|sim)\//)
        assert.equal(mode, 'ro')
      }
  })

  test('publishes the port on which the daemon listens, to this machine alone', () => {
    assert.deepEqual(compose.services['load-balancer'].ports, ['127.0.0.1:${PORT:-8080}:8080'])
    assert.equal(compose.services.simulator.ports, undefined)
  })

  test('builds from the Dockerfile', () => {
    const context = compose.services['load-balancer'].build
    assert.ok(existsSync(at(join('deploy', context, 'Dockerfile'))))
  })

  test('has a configuration that the daemon takes, and gives it the variables that it names', () => {
    checkConfig(config)
    const given = Object.keys(compose.services['load-balancer'].environment)
    for (const name of given) assert.ok(variablesOf(config).includes(name), `${name} is not read`)
  })

  test('has the simulator serve each backend, with the deployments that its map names', () => {
    for (const { name, url, auth, deployments = {} } of JSON.parse(config).backends) {
      const { hostname, port } = new URL(url)
      assert.equal(hostname, 'simulator')
      const resource = simulator.resources.find((candidate) => candidate.port === Number(port))
      assert.ok(resource, `${name}: no resource on port ${port}`)
      assert.equal(resource.address, '0.0.0.0')
      assert.equal(auth.key, `\${SIMULATOR_KEY:-${resource.api_key}}`)
      for (const target of Object.values(deployments)) assert.ok(resource.deployments[target], `${name} has no ${target}`)
    }
  })

  test('leaves time for a drain', () => {
    assert.equal(compose.services['load-balancer'].stop_grace_period, `${stopSeconds(JSON.parse(config))}s`)
  })
})

describe('Kubernetes', () => {
  const paths = files('deploy/kubernetes', '.yaml')
  const manifests = paths.flatMap(yamlOf)
  const of = (kind) => manifests.filter((manifest) => manifest.kind === kind)
  const [deployment] = of('Deployment')
  const pod = deployment.spec.template.spec
  const [container] = pod.containers
  const config = of('ConfigMap')[0].data['config.json']
  const secret = (name) => of('Secret').find(({ metadata }) => metadata.name === name)

  test('every manifest has a version that is served today, and a name', () => {
    const versions = {
      ConfigMap: 'v1', Deployment: 'apps/v1', HorizontalPodAutoscaler: 'autoscaling/v2', PodDisruptionBudget: 'policy/v1',
      Secret: 'v1', Service: 'v1', ServiceAccount: 'v1', Kustomization: 'kustomize.config.k8s.io/v1beta1',
    }
    assert.deepEqual([...new Set(manifests.map(({ kind }) => kind))].sort(), Object.keys(versions).sort())
    for (const { kind, apiVersion, metadata } of manifests) {
      assert.equal(apiVersion, versions[kind], kind)
      if (kind !== 'Kustomization') assert.match(metadata.name, /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/)
    }
  })

  test('the kustomization takes all of them but the made-up secrets, and the image that is run', () => {
    const [kustomization] = of('Kustomization')
    const listed = kustomization.resources.map((name) => `deploy/kubernetes/${name}`)
    const others = ['deploy/kubernetes/kustomization.yaml', 'deploy/kubernetes/secret.yaml']
    assert.deepEqual([...listed, ...others].sort(), paths.sort())
    // Applied, they would take the place of the real keys.
    for (const path of listed) for (const { kind } of yamlOf(path)) assert.notEqual(kind, 'Secret', path)
    assert.equal(container.image.split(':')[0], kustomization.images[0].name)
  })

  test('all select the same pods', () => {
    const { labels } = deployment.spec.template.metadata
    const selectors = [deployment.spec.selector.matchLabels, of('Service')[0].spec.selector,
      of('PodDisruptionBudget')[0].spec.selector.matchLabels, pod.topologySpreadConstraints[0].labelSelector.matchLabels]
    for (const selector of selectors) assert.deepEqual(selector, labels)
    assert.equal(of('HorizontalPodAutoscaler')[0].spec.scaleTargetRef.name, deployment.metadata.name)
  })

  test('the pods have no privilege, no capability, no token and nothing to write to', () => {
    assert.equal(pod.automountServiceAccountToken, false)
    assert.deepEqual([pod.securityContext.runAsNonRoot, pod.securityContext.runAsUser], [true, 65532])
    assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault')
    assert.deepEqual(container.securityContext,
      { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
    for (const { readOnly } of container.volumeMounts) assert.equal(readOnly, true)
  })

  test('probes ask the data port', () => {
    const { startupProbe, livenessProbe, readinessProbe, ports } = container
    const paths = [startupProbe, livenessProbe, readinessProbe].map(({ httpGet }) => httpGet.path)
    assert.deepEqual(paths, ['/healthz', '/healthz', '/readyz'])
    const names = ports.map(({ name }) => name)
    for (const { httpGet } of [startupProbe, livenessProbe, readinessProbe]) assert.equal(httpGet.port, names[0])
    assert.equal(of('Service')[0].spec.ports[0].targetPort, names[0])
    assert.deepEqual(ports.map(({ containerPort }) => containerPort), [8080, JSON.parse(config).admin.port])
  })

  test('a pod gets as long to stop as a drain takes', () => {
    assert.equal(pod.terminationGracePeriodSeconds, stopSeconds(JSON.parse(config)))
    // Longer than it takes until an unready pod is out of the service.
    const { periodSeconds, failureThreshold } = container.readinessProbe
    assert.ok(JSON.parse(config).timeouts.drain_delay_ms > periodSeconds * failureThreshold * 1000)
  })

  test('one pod may be taken away at a time, and one is always left', () => {
    const { minAvailable } = of('PodDisruptionBudget')[0].spec
    assert.ok(minAvailable >= 1 && deployment.spec.replicas > minAvailable)
    assert.ok(of('HorizontalPodAutoscaler')[0].spec.minReplicas > minAvailable)
    assert.equal(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
  })

  test('the volumes are there, and each is mounted', () => {
    assert.deepEqual(container.volumeMounts.map(({ name }) => name).sort(), pod.volumes.map(({ name }) => name).sort())
    const [configuration, keys] = pod.volumes
    assert.equal(configuration.configMap.name, of('ConfigMap')[0].metadata.name)
    assert.ok(secret(keys.secret.secretName))
    assert.ok(container.args.includes(`${container.volumeMounts[0].mountPath}/config.json`))
  })

  test('the daemon takes the configuration, with keys that the secrets have', () => {
    const callers = secret(container.envFrom[0].secretRef.name).stringData
    assert.deepEqual(variablesOf(config).sort(), Object.keys(callers).sort())
    const keys = secret(pod.volumes[1].secret.secretName).stringData
    const { mountPath } = container.volumeMounts[1]
    const wanted = JSON.parse(config).backends.map(({ auth }) => auth.key_file)
    assert.deepEqual(wanted, Object.keys(keys).map((name) => `${mountPath}/${name}`))
    // The files are the pods' alone, so the keys themselves stand in for them here.
    const inPlace = wanted.reduce((text, file) =>
      text.replace(`"key_file": "${file}"`, `"key": "${keys[file.split('/').at(-1)]}"`), config)
    checkConfig(inPlace, callers)
  })

  test('the admin port asks for a key, since it is bound off loopback', () => {
    assert.equal(JSON.parse(config).admin.key, '${ADMIN_KEY}')
    assert.equal(of('Service').length, 1)
  })
})

describe('systemd unit', () => {
  const unit = textOf('deploy/systemd/aoai-lb.service')
  const setting = (name) => new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1]

  test('asks whether the configuration is good before it starts, reloads by SIGHUP, and leaves time for a drain', () => {
    assert.equal(setting('ExecStartPre'), `${setting('ExecStart')} --check-config`)
    assert.match(setting('ExecReload'), /kill -HUP \$MAINPID$/)
    // The longest drain of the configurations that come with the project.
    const longest = stopSeconds({ timeouts: { drain_delay_ms: 10_000, drain_ms: 120_000 } })
    assert.ok(Number(setting('TimeoutStopSec')) >= longest)
  })

  test('is taken by systemd, and locked down', (context) => {
    const path = at('deploy/systemd/aoai-lb.service')
    const done = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=20', path], { encoding: 'utf8' })
    if (done.error || /Unknown|unrecognized/.test(done.stderr)) return context.skip('no systemd-analyze here')
    assert.equal(done.status, 0, done.stdout + done.stderr)
    assert.doesNotMatch(done.stderr, /Unknown (key|lvalue|section)/)
  })
})

describe('dev container', () => {
  const container = jsonOf('.devcontainer/devcontainer.json')

  test('has what its programs read', () => {
    const object = { type: 'object' }
    const schema = {
      type: 'object',
      additionalProperties: false,
      required: ['name', 'build', 'features', 'postCreateCommand'],
      properties: {
        name: { type: 'string' },
        build: { type: 'object', properties: { dockerfile: { type: 'string' } }, required: ['dockerfile'] },
        features: { type: 'object', propertyNames: { pattern: '^ghcr\\.io/[a-z0-9./-]+:\\d+$' }, additionalProperties: object },
        remoteUser: { type: 'string' },
        forwardPorts: { type: 'array', items: { type: 'integer' } },
        portsAttributes: { type: 'object', additionalProperties: object },
        postCreateCommand: { type: 'string' },
        customizations: object,
      },
    }
    const ajv = new Ajv()
    assert.ok(ajv.validate(schema, container), ajv.errorsText())
    assert.ok(existsSync(at(join(dirname('.devcontainer/devcontainer.json'), container.build.dockerfile))))
  })

  test('builds the programs when it is made', () => {
    assert.equal(container.postCreateCommand, './dev build')
    assert.equal(spawnSync('sh', [at('dev'), 'help'], { encoding: 'utf8' }).stdout.includes('  build '), true)
  })

  test('brings all that the documents use: azd, az, docker and a new enough Node.js', () => {
    const features = Object.keys(container.features).map((name) => name.replace(/.*\/([a-z-]+):.*/, '$1'))
    assert.deepEqual(features.sort(), ['azd', 'azure-cli', 'docker-in-docker', 'node'])
  })

  test('has every package that ./dev would install', () => {
    const installed = textOf('.devcontainer/Dockerfile').split(/\s+/)
    for (const [, packages] of textOf('dev').matchAll(/^[a-z]+_packages="([^"]*)"/gm))
      for (const name of packages.split(' ')) assert.ok(installed.includes(name), `${name} is missing`)
    assert.ok(installed.includes('curl'), 'the demo asks with curl')
  })
})
