import { parseJsonText } from './json-text.ts'
import { extensionOf } from './rows.ts'
import { parseTomlValue } from './toml-values.ts'
import { decodeText, type FlatValues, flatten, isUnderKey, type Value, valuesError } from './values.ts'
import { parseYamlValue } from './yaml-values.ts'

/** Reads a params file by its ending: YAML, JSON or TOML. An empty file holds nothing (null).
 *  @param path names the file in messages, e.g. `params.yaml` or `main:params.yaml`
 *  @throws PARAMS_INVALID, YAML_INVALID with line and column */
export function readParamFile(bytes: Uint8Array, path: string): Value {
  const code = 'PARAMS_INVALID'
  const text = decodeText(bytes, path, code)
  switch (extensionOf(path)) {
    case 'yaml':
    case 'yml':
      return parseYamlValue(text, path, code)
    case 'json':
      if (text.trim() === '') return null
      return parseJsonText(text, path, code)
    case 'toml':
      return parseTomlValue(text, path, code)
    default:
      throw valuesError(code, path, 'not a params file mlv reads: .yaml, .yml, .json and .toml are')
  }
}

/** The values of a params file under dotted keys, only those at or below `keys` when given. @throws PARAMS_INVALID, YAML_INVALID */
export function readParams(bytes: Uint8Array, path: string, keys?: string[]): FlatValues {
  const flat = flatten(readParamFile(bytes, path))
  if (!keys) return flat
  return new Map([...flat].filter(([key]) => keys.some((wanted) => isUnderKey(key, wanted))))
}
