/** One step from a commit: its n-th parent, or its n-th ancestor by first parents. Peeling (`^{commit}`, `^0`) is `ancestor 0`. */
export type RevisionStep = { kind: 'parent' | 'ancestor'; count: number }

export interface RevisionName {
  /** a ref, an id or its start; HEAD for `@` */
  base: string
  /** whether the branch's upstream is meant instead */
  upstream: boolean
  steps: RevisionStep[]
}

/** Whether git lets a ref have this name (git-check-ref-format). */
function isRefName(name: string): boolean {
  return (
    name !== '' &&
    !/[\0-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|\.$|^\/|\/$|^-/.test(name) &&
    name.split('/').every((part) => !part.startsWith('.') && !part.endsWith('.lock'))
  )
}

/** Parses the names of gitrevisions(7) that people type: `main`, `HEAD~2`, `v1^{commit}`, `@{upstream}`, `abc123`, `v1-3-gabc123`.
 *  @returns undefined for what is no such name, e.g. a reflog entry */
export function parseRevisionName(text: string): RevisionName | undefined {
  const found = /^(.*?)(@\{(?:u|upstream)\})?((?:\^\{(?:commit)?\}|\^\d*|~\d*)*)$/is.exec(text)
  if (!found) return undefined
  const [, name, upstream, suffix] = found as unknown as [string, string, string | undefined, string]
  const base = name === '@' || (name === '' && upstream) ? 'HEAD' : name
  if (!isRefName(base)) return undefined
  const steps = [...suffix.matchAll(/([~^])(\d*)(\{\w*\})?/g)].map(([, sign, digits, peel]): RevisionStep => {
    if (peel) return { kind: 'ancestor', count: 0 }
    const count = digits === '' ? 1 : Number(digits)
    return sign === '~' || count === 0 ? { kind: 'ancestor', count } : { kind: 'parent', count }
  })
  return { base, upstream: upstream !== undefined, steps }
}
