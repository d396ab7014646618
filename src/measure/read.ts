import { hasCode, type MlvError } from '../base/errors.ts'
import type { RepoPath } from '../base/paths.ts'
import type { Revision } from '../workspace/revision.ts'
import { type Declared, type DeclaredFile, expandDeclared, nameAt, narrowDeclared, readDeclared } from './declared.ts'
import { type MetricRules, readMetrics } from './metrics.ts'
import { readParams } from './params.ts'
import type { FlatValues } from './values.ts'

export type MeasureKind = 'params' | 'metrics'

/** A file that could not be read at a revision. */
export interface Problem {
  file: string
  code: string
  /** names file, line and column */
  message: string
}

/** The params or metrics of a revision. */
export interface Measures {
  revision: { name: string; commit: string | undefined }
  /** by file, then by dotted key; files that do not exist there are left out */
  files: Map<string, FlatValues>
  problems: Problem[]
  /** metrics that mlv stores instead of git: a commit cannot show them */
  outsideGit: string[]
  rules: Map<string, MetricRules>
  warnings: string[]
}

const NO_RULES: MetricRules = new Map()

/** @throws the errors of readParams and readMetrics */
export function readValues(
  kind: MeasureKind,
  bytes: Uint8Array,
  file: { name: string; declared: DeclaredFile; rules?: MetricRules },
): FlatValues {
  switch (kind) {
    case 'params':
      return readParams(bytes, file.name, file.declared.keys)
    case 'metrics':
      return readMetrics(bytes, file.name, file.rules ?? NO_RULES)
  }
}

/** Whether an error says that a file of values is broken, which is no reason to stop reading the others. */
export function isBrokenFile(error: unknown): error is MlvError {
  return hasCode(error, 'PARAMS_INVALID', 'METRICS_INVALID', 'YAML_INVALID', 'PATH_INVALID', 'FILE_UNREADABLE')
}

export function problemOf(file: string, error: MlvError): Problem {
  return { file, code: error.code, message: error.message }
}

async function declaredFiles(kind: MeasureKind, revision: Revision, declared: Declared): Promise<DeclaredFile[]> {
  const files = declared[kind]
  return files.some((file) => file.pattern) ? expandDeclared(files, await revision.list()) : files
}

export interface ReadOptions {
  /** files or folders to keep to; a file named here need not be in mlv.yaml */
  targets?: RepoPath[]
  /** what that revision's mlv.yaml says, when it is known already */
  declared?: Declared
}

/** Reads all params or metrics that a revision's own mlv.yaml names. A broken file becomes a problem and leaves the others standing.
 *  @throws YAML_INVALID when mlv.yaml itself is broken there */
export async function readMeasures(kind: MeasureKind, revision: Revision, options: ReadOptions = {}): Promise<Measures> {
  const declared = options.declared ?? (await readDeclared(revision))
  const targets = options.targets ?? []
  const measures: Measures = {
    revision: { name: revision.name, commit: revision.commit },
    files: new Map(),
    problems: [],
    outsideGit: [],
    rules: declared.rules,
    warnings: declared.warnings,
  }
  for (const file of narrowDeclared(await declaredFiles(kind, revision, declared), targets)) {
    if (!file.inGit) measures.outsideGit.push(file.path)
    try {
      const bytes = await revision.read(file.path as RepoPath)
      if (!bytes) continue
      const values = readValues(kind, bytes, {
        name: nameAt(revision, file.path),
        declared: file,
        rules: declared.rules.get(file.path),
      })
      measures.files.set(file.path, values)
    } catch (error) {
      if (!isBrokenFile(error)) throw error
      measures.problems.push(problemOf(file.path, error))
    }
  }
  return measures
}

/** The measures of a repository that has no commit yet. */
export function noMeasures(name: string): Measures {
  return { revision: { name, commit: undefined }, files: new Map(), problems: [], outsideGit: [], rules: new Map(), warnings: [] }
}
