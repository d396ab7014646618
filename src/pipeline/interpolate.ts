import { quotePath } from '../base/paths.ts'
import { floatText, type TemplateValue, WrittenNumber } from './written-number.ts'

/** Where names in `${…}` are looked up: the variables, and before them what an iteration binds. */
export interface Scope {
  values: { [key: string]: TemplateValue }
  /** `item`, and `key` where there is one */
  bound?: { [key: string]: TemplateValue }
}

/** What is wrong with a template, before its place is known. */
export class TemplateFault extends Error {
  readonly hint: string
  constructor(problem: string, hint: string) {
    super(problem)
    this.hint = hint
  }
}

const TEMPLATE = /(?<!\\)\$\{(.*?)\}/g
const SEGMENT = /^[^.[\]]+|\.[^.[\]]+|\[[^.[\]]+\]/y

/** Whether a text has anything to fill in or to unescape. */
export function isTemplate(text: string): boolean {
  return text.includes('${')
}

/** `train.lr`, `list[0]` or `list.0` as their keys. @throws TemplateFault */
function parseExpression(text: string): string[] {
  if (/^\w+(?:\.\w+)*$/.test(text)) return text.split('.')
  const segments: string[] = []
  SEGMENT.lastIndex = 0
  for (let at = 0; at < text.length; at = SEGMENT.lastIndex) {
    const found = SEGMENT.exec(text)?.[0]
    if (found === undefined) break
    segments.push(found.replace(/^[.[]/, '').replace(/\]$/, '').trim())
    if (SEGMENT.lastIndex === text.length) return segments
  }
  throw new TemplateFault(
    `has "\${${text}}", which is no name of a value`,
    'Write ${train.lr} or ${list[0]}; for a variable of the shell write \\${NAME}.',
  )
}

export function isMapValue(value: TemplateValue | undefined): value is { [key: string]: TemplateValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof WrittenNumber)
}

function step(value: TemplateValue | undefined, segment: string): TemplateValue | undefined {
  if (Array.isArray(value)) return /^-?\d+$/.test(segment) ? value.at(Number(segment)) : undefined
  return isMapValue(value) && Object.hasOwn(value, segment) ? value[segment] : undefined
}

function find(expression: string, scope: Scope): TemplateValue {
  const segments = parseExpression(expression)
  const start = scope.bound && Object.hasOwn(scope.bound, segments[0]!) ? scope.bound : scope.values
  let found: TemplateValue | undefined = start
  for (const segment of segments) {
    found = step(found, segment)
    if (found === undefined) break
  }
  if (found !== undefined) return found
  throw new TemplateFault(
    `needs "${expression.trim()}", which no variable has`,
    `Add it to params.yaml or vars; for a variable of the shell write \\\${${expression.trim()}}.`,
  )
}

/** A single value as text: booleans in lower case, numbers as they were written, nothing as `None`. */
export function valueText(value: number | string | boolean | null | WrittenNumber): string {
  if (typeof value === 'string') return value
  if (value instanceof WrittenNumber) return value.text
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : floatText(value)
  return value === null ? 'None' : String(value)
}

/** A map as options of a command: `--lr 0.1 --layers 1 2 --verbose`; maps within it are joined with dots, false ones left out.
 *  @throws TemplateFault for lists within lists */
function optionText(map: { [key: string]: TemplateValue }, prefix = ''): string {
  const words: string[] = []
  for (const [name, value] of Object.entries(map)) {
    const option = `${prefix}${name}`
    if (isMapValue(value)) words.push(optionText(value, `${option}.`))
    else if (Array.isArray(value)) words.push(...listWords(option, value))
    else if (typeof value === 'boolean') words.push(value ? `--${option}` : '')
    else words.push(`--${option} ${argument(value)}`)
  }
  return words.filter((word) => word !== '').join(' ')
}

function argument(value: number | string | boolean | null | WrittenNumber): string {
  if (typeof value !== 'string') return valueText(value)
  return value === '' ? "''" : quotePath(value)
}

function listWords(option: string, list: TemplateValue[]): string[] {
  if (list.length === 0) return []
  const items = list.map((item) => {
    if (Array.isArray(item) || isMapValue(item))
      throw new TemplateFault(`cannot write "${option}" as an option: it is a list of lists or maps`, 'Flatten it.')
    return argument(item)
  })
  return [`--${option} ${items.join(' ')}`]
}

/** What a template may stand for besides single values: in `cmd` a map becomes options, the data of an iteration may be anything. */
export type Composite = 'never' | 'options' | 'any'

/** Fills `${…}` in, and makes `\${` into `${`. A text that is one template alone keeps the type of its value.
 *  Syntax and meaning are those of dvc.yaml (dvc.org, "Templating").   @throws TemplateFault */
export function fillTemplate(text: string, scope: Scope, composite: Composite): TemplateValue {
  let alone: TemplateValue | undefined
  const filled = text.replace(TEMPLATE, (match, expression: string) => {
    const value = find(expression, scope)
    if (match.length === text.length && composite === 'any') {
      alone = value
      return ''
    }
    if (isMapValue(value) && composite === 'options') return optionText(value)
    if (Array.isArray(value) || isMapValue(value))
      throw new TemplateFault(
        `cannot hold ${match}, which is a ${Array.isArray(value) ? 'list' : 'map'}`,
        'Name one of its values.',
      )
    if (match.length === text.length) alone = value
    return valueText(value)
  })
  return alone === undefined ? filled.replaceAll('\\${', '${') : alone
}

/** Fills every text in a value, keys included. @throws TemplateFault */
export function fillDeep(value: TemplateValue, scope: Scope, composite: Composite): TemplateValue {
  if (typeof value === 'string') return isTemplate(value) ? fillTemplate(value, scope, composite) : value
  if (Array.isArray(value)) return value.map((item) => fillDeep(item, scope, composite))
  if (!isMapValue(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [fillText(key, scope), fillDeep(item, scope, composite)]))
}

/** Fills a text that stays one, such as a path. @throws TemplateFault */
export function fillText(text: string, scope: Scope): string {
  if (!isTemplate(text)) return text
  return valueText(fillTemplate(text, scope, 'never') as string)
}
