import { compareUtf8 } from '../base/paths.ts'

/** Deeper values are no values of a param file. */
const MAX_DEPTH = 500

/** One text for equal values: keys sorted by their UTF-8 bytes, no spaces but one after `:` and `,`, so that a line of it reads well.
 *  @throws RangeError when nested more than 500 deep */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw new RangeError(`nested more than ${MAX_DEPTH} deep`)
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(', ')}]`
  const map = value as Record<string, unknown>
  const keys = Object.keys(map)
    .filter((key) => map[key] !== undefined)
    .sort(compareUtf8)
  return `{${keys.map((key) => `${JSON.stringify(key)}: ${canonicalJson(map[key], depth + 1)}`).join(', ')}}`
}
