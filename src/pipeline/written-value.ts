import { type Document, isAlias, isMap, isScalar, isSeq, type Node } from 'yaml'
import { type TemplateValue, writtenNumber } from './written-number.ts'

/** A value of a YAML document with its numbers as they were written. The document's own checks have bounded its aliases. */
export function writtenValue(node: Node | null | undefined, document: Document): TemplateValue {
  if (isAlias(node)) return writtenValue(node.resolve(document), document)
  if (isSeq(node)) return node.items.map((item) => writtenValue(item as Node, document))
  if (isMap(node))
    return Object.fromEntries(
      node.items.map(({ key, value }) => [
        String(isScalar(key) ? (key.value ?? '') : key),
        writtenValue(value as Node, document),
      ]),
    )
  if (!isScalar(node)) return null
  const { value } = node
  if (typeof value === 'number') return writtenNumber(value, node.source)
  return typeof value === 'string' || typeof value === 'boolean' ? value : null
}
