import { parse, TomlError } from 'smol-toml'
import { type FileErrorCode, MAX_DEPTH, normalize, tooDeep, type Value, valuesError } from './values.ts'

/** Reads TOML 1.0. Dates and times come back as text, integers beyond 2^53 too.
 *  @throws `code` with line and column */
export function parseTomlValue(text: string, path: string, code: FileErrorCode): Value {
  try {
    return normalize(parse(text, { integersAsBigInt: 'asNeeded', maxDepth: MAX_DEPTH }), () => tooDeep(code, path))
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const problem = error.message.replace(/^Invalid TOML document: /, '').split('\n')[0]!
    throw valuesError(code, `${path}:${error.line}:${error.column}`, problem, error)
  }
}
