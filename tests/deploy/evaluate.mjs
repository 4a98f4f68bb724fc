// What a deployment of a Bicep file would send: parameters in, resources with their properties and outputs out.
//
// A pocket evaluator for the part of the language that these files use; whatever it does not know it refuses. What only
// Azure can say (ids, addresses) comes from the table `known`, so a typo in such a property is found as well.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'

import { bodyOf, declared, lambdaOf, loopNames, readBicep } from './bicep.mjs'

/** What Azure adds to a resource once it is there. */
const known = {
  'Microsoft.App/containerApps': (body) => ({
    properties: {
      configuration: { ingress: { fqdn: `${body.name}.example.azurecontainerapps.io` } },
      template: { containers: [{ image: 'registry.example/aoai-lb/aoai-lb:azd-deploy-1' }] },
    },
  }),
  'Microsoft.App/managedEnvironments': () => ({}),
  'Microsoft.CognitiveServices/accounts': (body) => ({ properties: { endpoint: `https://${body.name}.openai.azure.com/` } }),
  'Microsoft.ContainerRegistry/registries': (body) => ({ properties: { loginServer: `${body.name}.azurecr.io` } }),
  'Microsoft.ManagedIdentity/userAssignedIdentities': () => ({
    properties: { clientId: 'ffffffff-1111-4222-8333-444444444444', principalId: 'ffffffff-5555-4666-8777-888888888888' },
  }),
  'Microsoft.OperationalInsights/workspaces': () => ({
    properties: { customerId: 'ffffffff-9999-4aaa-8bbb-cccccccccccc' },
    listKeys: () => ({ primarySharedKey: 'the-shared-key' }),
  }),
}

const hash = (values, length) => createHash('sha256').update(values.join('|')).digest('hex').slice(0, length)

const builtIn = {
  concat: (...lists) => lists.flat(),
  empty: (value) => value === null || Object.keys(value).length === 0,
  filter: (list, keep) => list.filter(keep),
  guid: (...values) => `${hash(values, 8)}-0000-0000-0000-000000000000`,
  join: (list, separator) => list.join(separator),
  json: (text) => JSON.parse(text),
  length: (list) => list.length,
  map: (list, change) => list.map((item) => change(item)),
  range: (first, count) => Array.from({ length: count }, (_, i) => first + i),
  split: (text, separator) => text.split(separator),
  string: (value) => (typeof value === 'string' ? value : JSON.stringify(value)),
  subscription: () => ({ id: '/subscriptions/ffffffff-0000-4000-8000-000000000000' }),
  subscriptionResourceId: (type, name) => `/subscriptions/ffffffff-0000-4000-8000-000000000000/providers/${type}/${name}`,
  tenant: () => ({ tenantId: 'ffffffff-2222-4000-8000-000000000000' }),
  toLower: (text) => text.toLowerCase(),
  trim: (text) => text.trim(),
  union: (...objects) => Object.assign({}, ...objects),
  uniqueString: (...values) => hash(values, 13),
}

/**
 * Deploys a file in thought. Resources are those of its modules, too, in their order: { type, version, scope, body }.
 * Existing ones are left out. Fails where a parameter breaks a rule of its own or an expression makes no sense.
 */
export function deploy(path, given) {
  const file = readBicep(path)
  const run = { file, values: new Map(), resources: [], parameters: {} }

  assert.deepEqual(file.faults, [])
  for (const name of Object.keys(given)) assert.ok(file.parameters.has(name), `${path} has no parameter ${name}`)
  for (const parameter of file.parameters.values()) {
    const value = parameter.name in given ? given[parameter.name] : evaluate(run, parameter.value, {})
    checkParameter(run, parameter, value)
    run.values.set(parameter.name, value)
    run.parameters[parameter.name] = value
  }
  for (const name of [...file.resources.keys(), ...file.modules.keys()]) valueOf(run, name)
  run.outputs = {}
  for (const { name, type, value } of file.outputs.values()) {
    run.outputs[name] = evaluate(run, value, {})
    assert.equal(typeof run.outputs[name], type === 'int' ? 'number' : type, `${path}: output ${name}`)
  }
  return { resources: run.resources, outputs: run.outputs, parameters: run.parameters }
}

function checkParameter(run, { name, type, rules }, value) {
  const where = `${run.file.path}: ${name} = ${JSON.stringify(value)}`
  const types = { string: 'string', int: 'number', bool: 'boolean', object: 'object' }
  const rule = (what) => evaluate(run, rules[what], {})

  if (type === 'array') assert.ok(Array.isArray(value), `${where} is no array`)
  else assert.equal(typeof value, types[type], `${where} is no ${type}`)
  if (rules.allowed) assert.ok(rule('allowed').includes(value), `${where} is not allowed`)
  if (rules.minValue) assert.ok(value >= rule('minValue'), `${where} is too small`)
  if (rules.maxValue) assert.ok(value <= rule('maxValue'), `${where} is too big`)
  if (rules.minLength) assert.ok(value.length >= rule('minLength'), `${where} is too short`)
  if (rules.maxLength) assert.ok(value.length <= rule('maxLength'), `${where} is too long`)
}

/** The value of a declared name, found when it is first asked for. */
function valueOf(run, name) {
  if (!run.values.has(name)) {
    const { kind, declaration } = declared(run.file, name)
    const make = { variables: makeVariable, resources: makeResource, modules: makeModule }[kind]
    run.values.set(name, make(run, declaration))
  }
  return run.values.get(name)
}

function makeVariable(run, { value }) {
  return evaluate(run, value, {})
}

/** One value, or as many as the loop asks for; null where the condition says no. */
function each(run, node, local, make) {
  if (node.type === 'for_statement')
    return loop(run, node, local, (inner, body) => each(run, body, inner, make))
  if (node.type === 'if_statement') {
    const [condition, body] = node.namedChildren
    return evaluate(run, condition, local) ? each(run, body, local, make) : null
  }
  return make(evaluate(run, bodyOf(node), local))
}

function makeResource(run, { type, value, existing }) {
  const [kind, version] = type.split('@')
  return each(run, value, {}, (body) => {
    if (!existing) run.resources.push({ type: kind, version, body })
    const parent = body.parent ? `${body.parent.id}/` : `/${kind}/`
    const made = { id: parent + body.name, name: body.name, ...known[kind]?.(body) }
    return Object.assign(made, { toString: () => made.id })
  })
}

function makeModule(run, { name, source, value }) {
  return each(run, value, {}, (body) => {
    assert.equal(typeof body.name, 'string')
    assert.ok(body.name.length <= 64, `the deployment's name ${body.name} is too long`)
    const deployed = deploy(source, body.params)
    run.resources.push(...deployed.resources)
    return { outputs: deployed.outputs, name }
  })
}

function loop(run, node, local, make) {
  const names = loopNames(node)
  const parts = node.namedChildren
  const list = evaluate(run, parts[1], local)
  assert.ok(Array.isArray(list), `${parts[1].text} is no array`)
  return list.map((item, index) => make({ ...local, [names[0]]: item, [names[1]]: index }, parts.at(-1)))
}

const escapes = { "\\'": "'", '\\\\': '\\', '\\n': '\n', '\\r': '\r', '\\t': '\t', '\\$': '$' }

/** Strings are read from their text: the grammar names no escapes within them. */
function evaluateString(run, node, local) {
  let text = ''
  let at = node.startIndex + 1
  const plain = (end) => node.text.slice(at - node.startIndex, end - node.startIndex).replace(/\\['\\nrt$]/g, (e) => escapes[e])
  for (const part of node.namedChildren.filter(({ type }) => type === 'interpolation')) {
    const value = evaluate(run, part.namedChildren[0], local)
    text += plain(part.startIndex) + builtIn.string(value)
    at = part.endIndex
  }
  return text + plain(node.endIndex - 1)
}

const binary = {
  '+': (a, b) => a + b, '-': (a, b) => a - b, '*': (a, b) => a * b, '==': (a, b) => a === b, '!=': (a, b) => a !== b,
  '>': (a, b) => a > b, '<': (a, b) => a < b, '>=': (a, b) => a >= b, '<=': (a, b) => a <= b,
}

function evaluateBinary(run, node, local) {
  const operator = node.children[1].text
  const left = evaluate(run, node.childForFieldName('left'), local)
  const right = () => evaluate(run, node.childForFieldName('right'), local)
  if (operator === '&&') return left && right()
  if (operator === '||') return left || right()
  assert.ok(binary[operator], `no operator ${operator}`)
  return binary[operator](left, right())
}

function evaluateCall(run, node, local) {
  const called = node.childForFieldName('function')
  const values = node.childForFieldName('arguments').namedChildren.map((part) => evaluate(run, part, local))
  const method = called.type === 'identifier' ? builtIn[called.text] : evaluate(run, called, local)
  return method(...values)
}

function member(node, object, name) {
  assert.ok(object !== null && object !== undefined && Object.hasOwn(object, name), `${node.text}: there is no ${name}`)
  return object[name]
}

function evaluateObject(run, node, local) {
  const properties = node.namedChildren.filter(({ type }) => type === 'object_property')
  return Object.fromEntries(properties.map(({ namedChildren: [key, value] }) =>
    [key.type === 'string' ? evaluate(run, key, local) : key.text, evaluate(run, value, local)]))
}

/** Key of the lambda whose body is being evaluated from outside; see lambdaOf(). */
const entered = Symbol('entered')

const evaluators = {
  array: (run, node, local) => node.namedChildren.filter(({ type }) => type !== 'comment')
    .map((part) => evaluate(run, part, local)),
  binary_expression: evaluateBinary,
  boolean: (run, node) => node.text === 'true',
  call_expression: evaluateCall,
  for_statement: (run, node, local) => loop(run, node, local, (inner, body) => evaluate(run, body, inner)),
  identifier: (run, node, local) => (Object.hasOwn(local, node.text) ? local[node.text] : valueOf(run, node.text)),
  lambda_expression: (run, node, local) => {
    const body = node.namedChildren.at(-1)
    if (local[entered]?.id === node.id) return evaluate(run, body, local)
    return (item) => evaluate(run, body, { ...local, [loopNames(node)[0]]: item })
  },
  member_expression: (run, node, local) =>
    member(node, evaluate(run, node.childForFieldName('object'), local), node.childForFieldName('property').text),
  null: () => null,
  number: (run, node) => Number(node.text),
  object: evaluateObject,
  parenthesized_expression: (run, node, local) => evaluate(run, node.namedChildren[0], local),
  string: evaluateString,
  subscript_expression: (run, node, local) =>
    member(node, evaluate(run, node.childForFieldName('object'), local), evaluate(run, node.childForFieldName('index'), local)),
  ternary_expression: (run, node, local) => evaluate(run, node.childForFieldName(
    evaluate(run, node.childForFieldName('condition'), local) ? 'consequence' : 'alternative'), local),
  unary_expression: (run, node, local) => {
    const value = evaluate(run, node.childForFieldName('argument'), local)
    return node.children[0].text === '!' ? !value : -value
  },
}

function evaluate(run, node, local) {
  const lambda = node && lambdaOf(node)
  if (lambda && local[entered]?.id !== lambda.id)
    return (item) => evaluate(run, node, { ...local, [entered]: lambda, [loopNames(lambda)[0]]: item })
  assert.ok(evaluators[node?.type], `${run.file.path}: ${node?.type} is not known to this evaluator`)
  return evaluators[node.type](run, node, local)
}
