import type { MlvError } from '../base/errors.ts'
import { fillDeep, isMapValue, type Scope, valueText } from './interpolate.ts'
import { child, type Field, filling, invalid } from './schema-fields.ts'
import type { Variables } from './variables.ts'
import type { TemplateValue } from './written-number.ts'

/** One stage to be read: its name, the mapping that describes it, and what its templates may name besides the variables. */
export interface Expansion {
  name: string
  template: Field
  bound: Scope['bound']
}

interface Item {
  key: string
  bound: { [key: string]: TemplateValue }
}

/** A stage's name is also the name of a folder: what may not stand there becomes `_`. */
const NOT_IN_NAMES = /[^\p{L}\p{N}_.=+,-]/gu
const MOST_NAME_BYTES = 200

/** Stages that foreach and matrix may make, so that a slip of the hand cannot fill the memory. */
export const MOST_MADE = 50_000

function isComposite(value: TemplateValue): boolean {
  return Array.isArray(value) || isMapValue(value)
}

function keyOf(value: TemplateValue): string {
  return valueText(value as Parameters<typeof valueText>[0])
}

function kind(value: TemplateValue): string {
  if (value === null) return 'empty'
  if (isMapValue(value)) return 'a map'
  if (typeof value === 'string') return 'text'
  return typeof value === 'boolean' ? 'a flag' : Array.isArray(value) ? 'a list' : 'a number'
}

/** The data of a foreach, or of one key of a matrix, templates filled in. @throws PIPELINE_INVALID */
function readData(field: Field, variables: Variables): TemplateValue {
  if (field.filled || typeof field.value !== 'object' || field.value === null) return field.value as TemplateValue
  return filling(field, () => fillDeep(variables.literal(field), variables.scope, 'any'))
}

function refuseTooMany(field: Field, count: number, room: number): void {
  if (count <= room) return
  throw invalid(
    field,
    `makes ${count} stages; foreach and matrix may make ${MOST_MADE} in all${room < MOST_MADE ? `, of which ${room} are left` : ''}`,
    'Let one stage do the work of many, or take values out.',
  )
}

/** As in DVC: the items of a list are named by themselves, or by their number when one of them is a list or map. */
function readForeach(field: Field, reading: { variables: Variables; room: number }): Item[] {
  const data = readData(field, reading.variables)
  if (isMapValue(data)) {
    refuseTooMany(field, Object.keys(data).length, reading.room)
    return Object.entries(data).map(([key, item]) => ({ key, bound: { key, item } }))
  }
  if (!Array.isArray(data))
    throw invalid(field, `is ${kind(data)}, not a list or a map`, 'Write it like this: foreach: [us, uk], or foreach: ${regions}')
  refuseTooMany(field, data.length, reading.room)
  const numbered = data.some(isComposite)
  return data.map((item, index) => ({ key: numbered ? String(index) : keyOf(item), bound: { item } }))
}

/** Every combination, the last key turning fastest. */
function readMatrix(field: Field, reading: { variables: Variables; room: number }): Item[] {
  const shown = 'Write it like this: matrix: {model: [a, b], seed: [1, 2]}'
  const { value } = field
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(field, 'is no map of lists', shown)
  const axes = Object.keys(value).map((name) => {
    const axis = child(field, name, `${field.label}: ${name}`, 'any')
    const data = readData(axis, reading.variables)
    if (!Array.isArray(data)) throw invalid(axis, `is ${kind(data)}, not a list`, shown)
    return { name, data }
  })
  if (axes.length === 0) throw invalid(field, 'is empty', shown)
  refuseTooMany(
    field,
    axes.reduce((count, { data }) => count * data.length, 1),
    reading.room,
  )
  let items: { fragments: string[]; item: [string, TemplateValue][] }[] = [{ fragments: [], item: [] }]
  for (const { name, data } of axes)
    items = items.flatMap(({ fragments, item }) =>
      data.map((one, index) => ({
        fragments: [...fragments, isComposite(one) ? `${name}${index}` : keyOf(one)],
        item: [...item, [name, one] as [string, TemplateValue]],
      })),
    )
  return items.map(({ fragments, item }) => {
    const key = fragments.join('-')
    return { key, bound: { key, item: Object.fromEntries(item) } }
  })
}

/** What the stage of one item is called. */
export function madeName(name: string, key: string): string {
  return `${name}@${key.replace(NOT_IN_NAMES, '_')}`
}

/** The stages that an entry stands for, named `NAME@KEY` where foreach or matrix makes them. `field` has been checked.
 *  @param reading `room` is how many stages may be made   @throws PIPELINE_INVALID */
export function* expandStage(
  field: Field,
  name: string,
  reading: { variables: Variables; room: number; warnings: string[] },
): Generator<Expansion> {
  const value = field.value as Record<string, unknown>
  const word = 'foreach' in value ? 'foreach' : 'matrix' in value ? 'matrix' : undefined
  if (word === undefined) {
    yield { name, template: field, bound: undefined }
    return
  }
  const data = child({ ...field, scope: reading.variables.scope }, word, `${field.label}: ${word}`, 'any')
  const template = word === 'foreach' ? child(field, 'do', field.label) : field
  const seen = new Map<string, string>()
  for (const { key, bound } of word === 'foreach' ? readForeach(data, reading) : readMatrix(data, reading)) {
    const made = madeName(name, key)
    const other = seen.get(made)
    if (other === key) {
      reading.warnings.push(`${data.file.at(...data.keys)}: ${data.label} names "${key}" again`)
      continue
    }
    if (other !== undefined || key === '' || Buffer.byteLength(made) > MOST_NAME_BYTES) throw badName(data, made, { key, other })
    seen.set(made, key)
    yield { name: made, template: { ...template, label: `stage "${made}"` }, bound }
  }
}

function badName(data: Field, made: string, { key, other }: { key: string; other: string | undefined }): MlvError {
  const problem =
    other !== undefined
      ? `makes one name, "${made}", of "${other}" and "${key}"`
      : key === ''
        ? 'has an item without a name'
        : `makes a name of more than ${MOST_NAME_BYTES} bytes: "${made.slice(0, 40)}…"`
  return invalid(data, problem, 'Write a map instead of a list: its keys become the names.')
}
