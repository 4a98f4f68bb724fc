// A Bicep file as its declarations, and the faults that can be seen without evaluating it.
//
// No Bicep compiler can be had everywhere; the grammar of tree-sitter can. What is checked here is what people get wrong:
// a name that nothing declares, a parameter that a module does not have, or must have and does not get, an output that
// no module gives, a parameter or variable that nothing uses. Resource types and their properties are taken on trust.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

import Parser from 'tree-sitter'
import language from 'tree-sitter-bicep'

const parser = new Parser()
parser.setLanguage(language)

/** Functions that these files may call; evaluate.mjs knows what each does. */
export const functions = new Set(['concat', 'empty', 'filter', 'guid', 'join', 'json', 'length', 'map', 'range', 'split', 'string',
  'subscription', 'subscriptionResourceId', 'tenant', 'toLower', 'trim', 'union', 'uniqueString'])

const read = new Map()

/** The declarations of a file; a module's own are found through .modules. Reads each file once. */
export function readBicep(path) {
  if (!read.has(path)) read.set(path, parse(path, readFileSync(path, 'utf8')))
  return read.get(path)
}

/** As readBicep(), of a text: for the tests of the checker itself. */
export function parse(path, text) {
  const root = parser.parse(text, null, { bufferSize: 1 << 20 }).rootNode
  const file = {
    path, scope: 'resourceGroup', parameters: new Map(), variables: new Map(), resources: new Map(), modules: new Map(),
    outputs: new Map(), faults: [],
  }
  if (root.hasError) file.faults.push(...syntaxFaults(root, path))
  let decorators = []
  for (const node of root.namedChildren) {
    if (node.type === 'decorators') decorators = node.namedChildren.map((decorator) => decorator.namedChildren[0])
    else if (node.type !== 'comment') {
      declare(file, node, decorators)
      decorators = []
    }
  }
  if (file.faults.length === 0) check(file)
  return file
}

function syntaxFaults(node, path) {
  if (node.isError || node.isMissing)
    return [`${path}:${node.startPosition.row + 1}: syntax error at ${JSON.stringify(node.text.slice(0, 40))}`]
  return node.children.filter((child) => child.hasError || child.isMissing).flatMap((child) => syntaxFaults(child, path))
}

/** The text of a literal string. */
export function literal(node) {
  return node.namedChildren.map((part) => part.text).join('')
}

function declare(file, node, decorators) {
  const parts = node.namedChildren
  const name = parts[0]?.text
  const declaration = { name, node, line: node.startPosition.row + 1, decorators }
  const put = (map) => {
    if (declared(file, name)) fault(file, node, `${name} is declared twice`)
    map.set(name, declaration)
  }
  switch (node.type) {
    case 'target_scope_assignment':
      file.scope = literal(parts[0])
      break
    case 'parameter_declaration':
      put(file.parameters)
      Object.assign(declaration, { type: parts[1].text, value: parts[2], rules: rulesOf(decorators) })
      break
    case 'variable_declaration':
      put(file.variables)
      declaration.value = parts[1]
      break
    case 'resource_declaration':
      put(file.resources)
      Object.assign(declaration, { type: literal(parts[1]), value: parts[2] })
      declaration.existing = node.children.some((child) => child.type === 'existing')
      if (!/^Microsoft\.[A-Za-z]+(\/[A-Za-z]+)+@20\d\d-\d\d-\d\d$/.test(declaration.type))
        fault(file, node, `${declaration.type} is no type with a version that is generally available`)
      break
    case 'module_declaration':
      put(file.modules)
      Object.assign(declaration, { source: join(dirname(file.path), literal(parts[1])), value: parts[2] })
      break
    case 'output_declaration': // has a name space of its own
      file.outputs.set(name, { ...declaration, type: parts[1].text, value: parts[2] })
      break
    default:
      fault(file, node, `${node.type} is not known to this checker`)
  }
}

/** The rules that a parameter's decorators set: { secure, allowed: node, minValue: node, … }. */
function rulesOf(decorators) {
  return Object.fromEntries(decorators.map((call) => {
    const name = call.childForFieldName('function').text
    return [name, call.childForFieldName('arguments').namedChildren[0] ?? true]
  }))
}

function fault(file, node, what) {
  file.faults.push(`${file.path}:${node.startPosition.row + 1}: ${what}`)
}

export function declared(file, name) {
  for (const kind of ['parameters', 'variables', 'resources', 'modules'])
    if (file[kind].has(name)) return { kind, declaration: file[kind].get(name) }
  return null
}

/** The body of a resource or module: the object within its loop and condition. */
export function bodyOf(node) {
  return node.type === 'object' ? node : bodyOf(node.namedChildren.at(-1))
}

export function property(object, name) {
  return object.namedChildren.find(({ type, namedChildren }) =>
    type === 'object_property' && keyText(namedChildren[0]) === name)?.namedChildren[1]
}

function keyText(node) {
  return node.type === 'string' ? literal(node) : node.text
}

/** The names that a loop or a lambda brings in. */
export function loopNames(node) {
  const parts = node.namedChildren
  if (node.type === 'lambda_expression') return [parts[0].text]
  return parts[0].type === 'for_loop_parameters' ? parts[0].namedChildren.map((part) => part.text) : [parts[0].text]
}

/**
 * The lambda that a node is the body's end of. The grammar takes `x => x.name` as (x => x).name; the language does not.
 */
export function lambdaOf(node) {
  for (const side of ['object', 'function', 'left', 'condition']) {
    const inner = node.childForFieldName(side)
    if (inner) return inner.type === 'lambda_expression' ? inner : lambdaOf(inner)
  }
  return null
}

function check(file) {
  const used = new Set()
  const everything = [...file.parameters.values(), ...file.variables.values(), ...file.resources.values(),
    ...file.modules.values(), ...file.outputs.values()]

  for (const { value } of everything) if (value) checkNames(file, value, new Set(), used)
  for (const kind of ['parameters', 'variables'])
    for (const { name, node } of file[kind].values())
      if (!used.has(name)) fault(file, node, `${name} is not used`)
  for (const module of file.modules.values()) checkModule(file, module)
  for (const parameter of file.parameters.values())
    if (parameter.rules.secure && parameter.value && literal(parameter.value) !== '')
      fault(file, parameter.node, `the secret ${parameter.name} has a default`)
}

function checkNames(file, node, local, used) {
  const loop = ['for_statement', 'lambda_expression'].includes(node.type) ? node : lambdaOf(node)
  if (loop) local = new Set([...local, ...loopNames(loop)])
  if (node.type === 'call_expression') {
    const called = node.childForFieldName('function')
    if (called.type === 'identifier' && !functions.has(called.text)) fault(file, called, `no function ${called.text}`)
    if (called.type !== 'identifier') checkNames(file, called, local, used)
    checkNames(file, node.childForFieldName('arguments'), local, used)
    return
  }
  if (node.type === 'object_property') {
    const [key, value] = node.namedChildren
    if (key.type === 'string') checkNames(file, key, local, used)
    checkNames(file, value, local, used)
    return
  }
  if (node.type === 'identifier') {
    used.add(node.text)
    if (!local.has(node.text) && !declared(file, node.text)) fault(file, node, `nothing declares ${node.text}`)
  }
  checkOutput(file, node)
  for (const child of node.namedChildren) checkNames(file, child, local, used)
}

/** module.outputs.NAME and module[i].outputs.NAME must name an output. */
function checkOutput(file, node) {
  if (node.type !== 'member_expression') return
  const inner = node.childForFieldName('object')
  if (inner.type !== 'member_expression' || inner.childForFieldName('property').text !== 'outputs') return
  let target = inner.childForFieldName('object')
  if (target.type === 'subscript_expression') target = target.childForFieldName('object')
  const module = file.modules.get(target.text)
  const name = node.childForFieldName('property').text
  if (!module) fault(file, node, `${target.text} is no module`)
  else if (!readBicep(module.source).outputs.has(name)) fault(file, node, `${target.text} has no output ${name}`)
}

function checkModule(file, module) {
  const target = readBicep(module.source)
  const given = property(bodyOf(module.value), 'params')?.namedChildren ?? []
  const names = given.filter(({ type }) => type === 'object_property').map(({ namedChildren }) => keyText(namedChildren[0]))

  for (const name of names)
    if (!target.parameters.has(name)) fault(file, module.node, `${module.name} is given ${name}, which it has not`)
  for (const { name, value } of target.parameters.values())
    if (!value && !names.includes(name)) fault(file, module.node, `${module.name} must be given ${name}`)
  for (const { name, rules } of target.parameters.values()) checkSecret(file, module, given, name, rules)
}

/** A secret may only be handed on to a parameter that is declared as one. */
function checkSecret(file, module, given, name, rules) {
  const value = given.find(({ namedChildren }) => keyText(namedChildren[0]) === name)?.namedChildren[1]
  const from = value?.type === 'identifier' && file.parameters.get(value.text)
  if (from && from.rules.secure && !rules.secure)
    fault(file, module.node, `${module.name}'s ${name} is given the secret ${from.name} and is none itself`)
}
