import { createHash } from 'node:crypto'
import { shortId } from '../git/short-id.ts'
import { cleanText, type Dataset, formatDataset, formatMetric, LIMITS, type Metric, normaliseKeys, type Pair } from './wire.ts'

/** One commit of the experiment history, as an export needs it. */
export interface ExportRow {
  /** full commit id */
  commit: string
  /** ms since 1970: when the commit was made */
  time: number
  author: { name: string; email: string }
  /** first line of the message */
  subject: string
  /** branches and tags at the commit, short names */
  labels: string[]
  /** values by key; nested ones are joined by dots */
  params: Record<string, unknown>
  metrics: Record<string, unknown>
  datasets: Dataset[]
}

/** The repository the rows come from. */
export interface ExportSource {
  /** the project's folder inside the repository, '' for its top */
  prefix: string
  /** remote.origin.url as git has it, credentials and all; undefined without a remote */
  remoteUrl: string | undefined
  /** names the project where there is no remote */
  name: string
}

/** A commit as an MLflow run: everything the server will be told, within its limits. */
export interface ExportRun {
  /** equal in every clone: the commit, and the project's folder where it is not the repository's top */
  key: string
  commit: string
  name: string
  userId: string
  /** ms since 1970 */
  time: number
  tags: Pair[]
  params: Pair[]
  metrics: Metric[]
  datasets: Dataset[]
  /** SHA-256 of time, params, metrics and datasets: what the commit alone decides. Names and branches move on, a run keeps those it got. */
  digest: string
  /** what had to be changed to fit MLflow, for the user */
  notes: string[]
}

/** The tag that finds a run again. */
export const KEY_TAG = 'mlv.run_key'
/** The tag set last: a run that carries it is complete. */
export const DIGEST_TAG = 'mlv.export.digest'

/** @returns the URL without user, password and query, or undefined for a folder on this machine */
export function publicUrl(url: string): string | undefined {
  // git@host:owner/repo.git has no password; the part before @ is a login name every clone shares.
  if (/^[\w.-]+@[\w.-]+:(?!\/\/)/.test(url)) return url
  try {
    const parsed = new URL(url)
    if (parsed.protocol === 'file:' || parsed.protocol.length === 2) return undefined
    parsed.password = ''
    if (parsed.protocol !== 'ssh:') parsed.username = ''
    parsed.search = ''
    parsed.hash = ''
    return parsed.href
  } catch {
    return undefined
  }
}

/** @returns the last part of a remote's URL without `.git`, e.g. `penguins` */
export function repositoryName(url: string): string | undefined {
  const name = url
    .replace(/[?#].*$/, '')
    .replace(/[/\\]+$/, '')
    .replace(/\.git$/, '')
    .replace(/^.*[/\\:]/, '')
  return name === '' ? undefined : name
}

function flatten(values: Record<string, unknown>, prefix = ''): [string, unknown][] {
  return Object.entries(values).flatMap(([key, value]): [string, unknown][] => {
    const isGroup = typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0
    return isGroup ? flatten(value as Record<string, unknown>, `${prefix}${key}.`) : [[`${prefix}${key}`, value]]
  })
}

function paramText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? '')
}

/** @returns the number MLflow stores, or undefined for what is none */
function metricNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  if (typeof value === 'boolean') return value ? 1 : 0
  if (value === 'NaN' || value === 'Infinity' || value === '-Infinity') return Number(value)
  return undefined
}

function byKey(a: { key: string }, b: { key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0
}

function formatParams(values: Record<string, unknown>, notes: string[]): Pair[] {
  const entries = flatten(values)
  const names = normaliseKeys(entries.map(([key]) => key))
  return entries
    .map(([key, value]) => {
      const name = names.get(key)!
      if (name !== key) notes.push(`param "${key}" is called "${name}" in MLflow`)
      const text = paramText(value)
      const clean = cleanText(text, LIMITS.paramValue)
      if (clean.length < text.length) notes.push(`param "${key}" is cut to ${LIMITS.paramValue} characters in MLflow`)
      return { key: name, value: clean }
    })
    .sort(byKey)
}

function formatMetrics(values: Record<string, unknown>, time: number, notes: string[]): Metric[] {
  const entries = flatten(values)
  const names = normaliseKeys(entries.map(([key]) => key))
  const metrics: Metric[] = []
  for (const [key, value] of entries) {
    const number = metricNumber(value)
    const name = names.get(key)!
    if (number === undefined) {
      if (value !== undefined && value !== null) notes.push(`metric "${key}" is no number and stays out of MLflow`)
      continue
    }
    if (name !== key) notes.push(`metric "${key}" is called "${name}" in MLflow`)
    metrics.push({ key: name, value: number, timestamp: time, step: 0 })
  }
  return metrics.sort(byKey)
}

/** @returns the branch a person would name the run by: an experiment's first */
function branchOf(row: ExportRow): string | undefined {
  return row.labels.find((label) => /^(?:[^/]+\/)?exp\//.test(label)) ?? row.labels[0]
}

function formatTags(row: ExportRow, source: ExportSource, key: string): Pair[] {
  const repoUrl = source.remoteUrl === undefined ? undefined : publicUrl(source.remoteUrl)
  const place = repoUrl ?? source.name
  const tags: Record<string, string | undefined> = {
    [KEY_TAG]: key,
    'mlv.commit': row.commit,
    'mlflow.user': row.author.name || row.author.email,
    'mlflow.note.content': row.subject,
    'mlflow.source.type': 'PROJECT',
    // The form of MLflow's own project runs: URL#folder.
    'mlflow.source.name': source.prefix === '' ? place : `${place}#${source.prefix}`,
    'mlflow.source.git.commit': row.commit,
    'mlflow.source.git.branch': branchOf(row),
    'mlflow.source.git.repoURL': repoUrl,
  }
  return Object.entries(tags).flatMap(([tag, value]) => (value ? [{ key: tag, value: cleanText(value, LIMITS.tagValue) }] : []))
}

function digestOf(run: Pick<ExportRun, 'time' | 'params' | 'metrics' | 'datasets'>): string {
  const content = ['mlv-mlflow-export 1', run.time, run.params, run.metrics.map(formatMetric), run.datasets.map(formatDataset)]
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

/** Says a row in MLflow's words, within its limits. Pure: the same row gives the same run, except for labels, which decide name and branch. */
export function formatRun(row: ExportRow, source: ExportSource): ExportRun {
  const notes: string[] = []
  const key = source.prefix === '' ? row.commit : `${row.commit}:${source.prefix}`
  const branch = branchOf(row)
  const isExperiment = branch !== undefined && /^(?:[^/]+\/)?exp\//.test(branch)
  const content = {
    time: row.time,
    params: formatParams(row.params, notes),
    metrics: formatMetrics(row.metrics, row.time, notes),
    datasets: row.datasets.map((dataset) => ({
      ...dataset,
      name: cleanText(dataset.name, LIMITS.datasetName),
      digest: dataset.digest.slice(0, LIMITS.datasetDigest),
    })),
  }
  return {
    ...content,
    key,
    commit: row.commit,
    // A branch such as main moves on to other commits; an experiment's branch is its name.
    name: cleanText(isExperiment ? branch : row.subject || shortId(row.commit), LIMITS.runName),
    userId: cleanText(row.author.name || row.author.email, LIMITS.userId),
    tags: formatTags(row, source, key),
    digest: digestOf(content),
    notes,
  }
}
