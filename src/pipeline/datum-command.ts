import { posix } from 'node:path'
import type { Datum } from './datums.ts'
import { shellWord } from './shell-line.ts'
import type { Stage } from './stage.ts'

/** The paths of a datum's parts of one input, as the command sees them from its folder. */
export function pathsOf(datum: Datum, stage: Stage, input?: string): string[] {
  const from = stage.wdir === '' ? '.' : stage.wdir
  return datum.parts.filter((part) => input === undefined || part.input === input).map(({ path }) => posix.relative(from, path))
}

/** Fills `{in}`, `{in.NAME}`, `{out}`, `{datum}` and `{1}`, `{2}`, … in a command line, quoted for the shell; of a batch `{list}`. */
export function fillCommand(line: string, stage: Stage, values: { datum?: Datum; out?: string; list?: string }): string {
  const { datum, out, list } = values
  const groups = datum?.parts.flatMap((part) => part.groups) ?? []
  const words = (texts: string[]) => texts.map(shellWord).join(' ')
  return line.replace(/\{(in|out|list|datum|in\.\w+|[1-9])\}/g, (whole, name: string) => {
    if (name === 'list') return list === undefined ? whole : words([list])
    if (!datum || out === undefined) return whole
    if (name === 'out') return words([out])
    if (name === 'datum') return words([datum.name])
    if (/^\d$/.test(name)) return words([groups[Number(name) - 1] ?? ''])
    return words(pathsOf(datum, stage, name === 'in' ? undefined : name.slice(3)))
  })
}

/** A line of the list that a batch's command gets. */
export function listLine(datum: Datum, stage: Stage, out: string): string {
  const inputs = [...new Set(datum.parts.map((part) => part.input))]
  return `${JSON.stringify({
    datum: datum.name,
    in: Object.fromEntries(inputs.map((input) => [input, pathsOf(datum, stage, input)])),
    groups: datum.parts.flatMap((part) => part.groups),
    out,
  })}\n`
}
