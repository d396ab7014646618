import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeFileAtomic } from '../base/atomic.ts'
import { fileError, hasCode, MlvError, systemCode } from '../base/errors.ts'
import { oidOfBytes } from '../base/oid.ts'
import type { RepoPath } from '../base/paths.ts'
import { readRegularFile } from '../base/regular-file.ts'
import type { Project } from '../workspace/project.ts'
import { buildGraph, type StageGraph } from './graph.ts'
import { parsePipeline } from './schema.ts'
import { PIPELINE_FILE, type Pipeline } from './stage.ts'
import type { FileReader } from './variables.ts'

/** Part of the name of a parsed copy: a change of Stage or of what the schema checks takes the next number. */
const COPY_FORMAT = 6

interface ParsedCopy {
  format: number
  /** SHA-256 of the mlv.yaml it was made from */
  source: string
  /** the files that its templates took values from, with their SHA-256; null for one that was not there */
  values: Record<RepoPath, string | null>
  pipeline: Pipeline
}

function readCopy(path: string, source: string): ParsedCopy | undefined {
  try {
    const copy = JSON.parse(readFileSync(path, 'utf8')) as ParsedCopy
    return copy.format === COPY_FORMAT && copy.source === source ? copy : undefined
  } catch (error) {
    if (error instanceof SyntaxError || systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, 'reading', path)
  }
}

function writeCopy(path: string, copy: ParsedCopy): void {
  try {
    writeFileAtomic(path, JSON.stringify(copy), { flush: false })
  } catch (error) {
    // The copy only saves time; whoever may read the project but not write to it reads YAML each time.
    if (!hasCode(error, 'FILE_UNWRITABLE', 'DISK_FULL')) throw error
  }
}

/** The text of mlv.yaml. @throws YAML_INVALID when it is not UTF-8 */
export function decodePipeline(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new MlvError('YAML_INVALID', `${PIPELINE_FILE} is no UTF-8 text`, { hint: 'Save it as UTF-8.', cause: error })
  }
}

/** The bytes of mlv.yaml in the workspace, or undefined when there is none. @throws FILE_UNREADABLE */
export function readPipelineFile(project: Pick<Project, 'root'>): Uint8Array | undefined {
  const path = join(project.root, PIPELINE_FILE)
  try {
    return readRegularFile(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    if (systemCode(error) === 'EISDIR')
      throw new MlvError('PIPELINE_INVALID', `${PIPELINE_FILE} is a folder`, {
        hint: 'Give the folder another name.',
        cause: error,
      })
    throw fileError(error, 'reading', PIPELINE_FILE)
  }
}

/** Reads what templates take values from as all params are read: never through a link out of the project. */
async function valuesReader(project: Pick<Project, 'revision'>): Promise<FileReader> {
  const workspace = await project.revision(undefined)
  return (path) => workspace.read(path)
}

async function sameValues(project: Pick<Project, 'revision'>, values: ParsedCopy['values']): Promise<boolean> {
  const paths = Object.keys(values) as RepoPath[]
  if (paths.length === 0) return true
  const read = await valuesReader(project)
  for (const path of paths) {
    const bytes = await read(path)
    if ((bytes ? oidOfBytes(bytes) : null) !== values[path]) return false
  }
  return true
}

/** Parses the text of mlv.yaml with the values of the workspace. @throws as parsePipeline */
export async function parseHere(
  project: Pick<Project, 'revision'>,
  text: string,
): Promise<Pick<ParsedCopy, 'pipeline' | 'values'>> {
  const values: ParsedCopy['values'] = {}
  const pipeline = await parsePipeline(text, async (path) => {
    const bytes = await (await valuesReader(project))(path)
    values[path] = bytes ? oidOfBytes(bytes) : null
    return bytes
  })
  return { pipeline, values }
}

/** The workspace's stages, or undefined without mlv.yaml. Parsing YAML is slow, so a parsed copy is kept in the state folder.
 *  @throws YAML_INVALID, PIPELINE_INVALID, PATH_INVALID, PARAMS_INVALID, FILE_UNREADABLE */
export async function readPipeline(project: Pick<Project, 'root' | 'stateDir' | 'revision'>): Promise<Pipeline | undefined> {
  const bytes = readPipelineFile(project)
  if (!bytes) return undefined
  const source = oidOfBytes(bytes)
  const copyPath = join(project.stateDir, 'pipeline.json')
  const copy = readCopy(copyPath, source)
  if (copy && (await sameValues(project, copy.values))) return copy.pipeline
  const { pipeline, values } = await parseHere(project, decodePipeline(bytes))
  writeCopy(copyPath, { format: COPY_FORMAT, source, values, pipeline })
  return pipeline
}

/** The stages and their order; warns of unknown keys.
 *  @throws PIPELINE_INVALID, also without mlv.yaml; YAML_INVALID, PATH_INVALID, FILE_UNREADABLE */
export async function openPipeline(project: Project): Promise<StageGraph> {
  const pipeline = await readPipeline(project)
  if (!pipeline)
    throw new MlvError('PIPELINE_INVALID', `There is no ${PIPELINE_FILE} in ${project.root}`, {
      hint: 'Add a first stage: mlv stage add NAME -d DEP -o OUT -- COMMAND',
    })
  for (const warning of pipeline.warnings) project.surroundings.warn(warning)
  return buildGraph(pipeline)
}
