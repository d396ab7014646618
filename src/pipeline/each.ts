import { MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import { PatternFault, parsePattern } from './glob-groups.ts'
import { child, type Field, invalid, readList, readMapping, readText, resolvePath } from './schema-fields.ts'
import { placeText, type Stage } from './stage.ts'

/** One input of a map stage, and how it is cut into parts. */
export interface EachInput {
  /** how the command names it; the last part of its path without */
  name: string
  path: RepoPath
  /** each file or folder below `path` that matches is a part; '' is the whole */
  glob: string
  /** join and group: parts with the same text belong together; `$1` is what the first group caught */
  on: string
}

/** How the parts of several inputs make datums. union: each part alone · cross: every pair, triple, … · join: those that share `on`, one of each
 *  input · group: all that share `on` */
export interface Each {
  by: 'union' | 'cross' | 'join' | 'group'
  inputs: EachInput[]
}

const WAYS = ['union', 'cross', 'join', 'group'] as const
const SHOWN = 'each: {input: data/images, glob: "*.jpg"}'
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

function readInput(field: Field, wdir: RepoPath, by: Each['by']): EachInput {
  const value = readMapping(field, SHOWN)
  const part = (key: string) => child(field, key, `${field.label}: ${key}`)
  for (const key of Object.keys(value))
    if (!['input', 'glob', 'name', 'on'].includes(key))
      throw invalid(part(key), 'is no key of an input', 'There are input, glob, name and on.')
  const path = resolvePath(part('input'), readText(part('input'), SHOWN), wdir)
  const glob = value.glob === undefined ? '*' : readText(part('glob'), SHOWN)
  try {
    parsePattern(glob)
  } catch (error) {
    if (error instanceof PatternFault)
      throw invalid(part('glob'), error.message, 'For example "*.jpg", "**/*.csv" or "(*)-(*).txt".')
    throw error
  }
  const own = path.slice(path.lastIndexOf('/') + 1).replace(/[^A-Za-z0-9_]/g, '_')
  const name = value.name === undefined ? own : readText(part('name'), 'name: images')
  if (value.name !== undefined && !NAME.test(name))
    throw invalid(part('name'), `is no name: "${name}"`, 'Use letters, digits and "_".')
  const needsKey = by === 'join' || by === 'group'
  if (needsKey && value.on === undefined)
    throw invalid(field, `has no "on", which ${by} needs`, 'For example on: $1, with a glob like "(*).jpg".')
  if (!needsKey && value.on !== undefined) throw invalid(part('on'), 'belongs to join and group', 'Take it out.')
  return { name, path, glob, on: needsKey ? readText(part('on'), 'on: $1') : '' }
}

/** Reads `each` of a stage. @throws PIPELINE_INVALID, PATH_INVALID */
export function readEach(field: Field, wdir: RepoPath): Each {
  const value = readMapping(field, SHOWN)
  const by = WAYS.find((way) => Object.hasOwn(value, way))
  if (!by) return { by: 'union', inputs: [readInput(field, wdir, 'union')] }
  const others = Object.keys(value).filter((key) => key !== by)
  if (others.length > 0) throw invalid(field, `has "${others[0]}" beside "${by}"`, `Write the inputs as a list below ${by}.`)
  const inputs = readList(child(field, by, `${field.label}: ${by}`), SHOWN).map((item) => readInput(item, wdir, by))
  if (inputs.length === 0) throw invalid(field, 'has no inputs', SHOWN)
  const names = inputs.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) < at)
  if (twice !== undefined && by !== 'union')
    throw invalid(field, `has two inputs called "${twice}"`, 'Give one of them another name.')
  return { by, inputs }
}

/** The first placeholder of a command that no datum would fill: it would be nothing, unseen. */
function emptyPlace({ cmd, each }: Stage): string | undefined {
  const { by, inputs } = each!
  const counts = inputs.map(({ glob }) => parsePattern(glob).groups)
  const most = by === 'union' ? Math.max(...counts) : counts.reduce((sum, count) => sum + count, 0)
  // A group is of any number of parts.
  const groups = by === 'group' && most > 0 ? 9 : most
  for (const [whole, name, digit] of cmd.join('\n').matchAll(/\{(?:in\.(\w+)|([1-9]))\}/g))
    if (digit ? Number(digit) > groups : !inputs.some((input) => input.name === name)) return whole
  return undefined
}

/** Refuses a map stage that could not work. @throws PIPELINE_INVALID */
export function checkMapStage(stage: Stage): void {
  const [out, ...others] = stage.outs
  const problem =
    out === undefined || others.length > 0
      ? 'needs exactly one out, the folder that holds what all datums write'
      : out.git || out.persist || out.role !== 'out'
        ? `cannot keep ${out.path} in git or persist it`
        : undefined
  if (problem)
    throw new MlvError('PIPELINE_INVALID', `${placeText(stage.at)}: stage "${stage.name}" with each ${problem}`, {
      hint: 'Write for example outs: [thumbs]. Metrics belong to a stage after it.',
    })
  const empty = stage.batch === undefined ? emptyPlace(stage) : undefined
  if (empty !== undefined) {
    const names = stage.each!.inputs.map(({ name }) => `{in.${name}}`)
    throw new MlvError('PIPELINE_INVALID', `${placeText(stage.cmdAt)}: stage "${stage.name}": nothing would stand for ${empty}`, {
      hint:
        /\d/.test(empty) && !empty.startsWith('{in')
          ? 'It is what a group of a glob caught: glob: "(*)-(*).jpg" has {1} and {2}.'
          : `The inputs are ${[...new Set(names)].join(', ')}.`,
    })
  }
  if (stage.batch !== undefined && !stage.cmd.some((line) => /\{list\}|\bMLV_LIST\b/.test(line)))
    throw new MlvError(
      'PIPELINE_INVALID',
      `${placeText(stage.cmdAt)}: stage "${stage.name}" with batch never reads its list of datums`,
      {
        hint: 'Give the command {list}: a file with a line of JSON for each datum.',
      },
    )
}
