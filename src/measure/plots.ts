import { parseJsonText } from './json-text.ts'
import { extensionOf, isRow, parseDelimited, parseJsonLines, type Row } from './rows.ts'
import { decodeText, type Value, valuesError } from './values.ts'
import { parseYamlValue } from './yaml-values.ts'

const CODE = 'METRICS_INVALID'

function rowsOf(value: Value, path: string): Row[] {
  if (Array.isArray(value) && value.every(isRow)) return value
  if (isRow(value)) {
    // A map that holds one list of rows, as training loops write their history.
    const lists = Object.values(value).filter(
      (item): item is Row[] => Array.isArray(item) && item.length > 0 && item.every(isRow),
    )
    if (lists.length === 1) return lists[0]!
  }
  throw valuesError(CODE, path, 'a plot needs a list of maps, or one list of maps under a key')
}

/** The rows of a plot's data: CSV and TSV with a header, JSON Lines, or a list of maps in JSON or YAML. @throws METRICS_INVALID */
export function readPlotRows(bytes: Uint8Array, path: string): Row[] {
  const text = decodeText(bytes, path, CODE)
  switch (extensionOf(path)) {
    case 'csv':
    case 'tsv':
      return [...parseDelimited(text, path, CODE)]
    case 'jsonl':
    case 'ndjson':
      return [...parseJsonLines(text, path, CODE)]
    case 'yaml':
    case 'yml':
      return rowsOf(parseYamlValue(text, path, CODE), path)
    case 'json':
      return rowsOf(parseJsonText(text, path, CODE), path)
    default:
      throw valuesError(CODE, path, 'not plot data mlv reads: .csv, .tsv, .jsonl, .json and .yaml are')
  }
}
