import { isScalar, visit } from 'yaml'
import { hasCode, MlvError, systemCode } from '../base/errors.ts'
import { parseYaml, type YamlFile } from '../base/yaml.ts'
import { readPlainYaml } from './plain-yaml.ts'
import { type FileErrorCode, LONG_INTEGER, normalize, tooDeep, type Value } from './values.ts'

/** The value of a file, with integers beyond 2^53 as text. */
export function exactValue({ value, document }: YamlFile, text: string): unknown {
  if (!LONG_INTEGER.test(text)) return value
  visit(document, {
    Scalar(_key, node) {
      // A double cannot hold it: the text of the file says more.
      if (
        isScalar(node) &&
        typeof node.value === 'number' &&
        /^[-+]?\d+$/.test(node.source ?? '') &&
        !Number.isSafeInteger(node.value)
      )
        node.value = node.source
    },
  })
  return document.toJS({ maxAliasCount: 100 })
}

function isExhausted(error: unknown): boolean {
  return hasCode(error, 'YAML_INVALID') && systemCode(error.cause) === 'RESOURCE_EXHAUSTION'
}

/** Reads one YAML 1.2 document. Dates stay text, integers beyond 2^53 too.
 *  @throws YAML_INVALID with line and column (METRICS_INVALID for metrics); `code` when nested too deep */
export function parseYamlValue(text: string, path: string, code: FileErrorCode): Value {
  const plain = readPlainYaml(text)
  if (plain) return plain
  try {
    return normalize(exactValue(parseYaml(text, path), text), () => tooDeep(code, path))
  } catch (error) {
    // The YAML library recurses without a bound of its own.
    if (error instanceof RangeError || isExhausted(error)) throw tooDeep(code, path)
    if (code === 'METRICS_INVALID' && hasCode(error, 'YAML_INVALID'))
      throw new MlvError(code, error.message, { hint: error.hint, cause: error })
    throw error
  }
}
