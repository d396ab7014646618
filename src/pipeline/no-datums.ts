import type { EachInput } from './each.ts'
import { parsePattern } from './glob-groups.ts'
import type { Stage } from './stage.ts'

function nothing({ path, glob }: EachInput): string {
  return parsePattern(glob).whole ? `nothing lies in ${path}` : `nothing in ${path} matches "${glob}"`
}

/** Says that a map stage has no datums, which is no error, and why. */
export function noDatumsText({ name, each }: Pick<Stage, 'name' | 'each'>): string {
  const [input, ...others] = each!.inputs
  const why =
    others.length === 0
      ? nothing(input!)
      : `no ${each!.by} of ${each!.inputs.map(({ path, glob }) => `${path} ("${glob}")`).join(' and ')} makes one`
  return `stage "${name}" has no datums: ${why}`
}
