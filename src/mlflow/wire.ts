import { createHash } from 'node:crypto'

/** What MLflow's REST API takes at most: items of one log-batch, its bytes, and characters (code points) of texts. */
export const LIMITS = {
  batchItems: 1000,
  batchParams: 100,
  // MLflow refuses a log-batch body of more than 1,000,000 bytes; the rest is room for the frame around the items.
  batchBytes: 990_000,
  key: 250,
  paramValue: 6000,
  tagValue: 8000,
  runName: 250,
  userId: 256,
  experimentName: 500,
  datasetName: 500,
  datasetDigest: 36,
} as const

export interface Pair {
  key: string
  value: string
}

export interface Metric {
  key: string
  value: number
  /** ms since 1970 */
  timestamp: number
  step: number
}

export interface Dataset {
  name: string
  digest: string
  /** where it comes from, as JSON text */
  source: string
  /** names the kind of `source` */
  sourceType: string
}

export interface MlflowExperiment {
  id: string
  name: string
  stage: 'active' | 'deleted'
}

/** A run as the server holds it; `metrics` are the latest of each key. */
export interface MlflowRun {
  id: string
  name: string
  stage: 'active' | 'deleted'
  status: string
  /** ms since 1970 */
  startTime: number | undefined
  endTime: number | undefined
  params: Map<string, string>
  metrics: Map<string, Metric>
  tags: Map<string, string>
  /** `name` and `digest` of each dataset, joined by a newline */
  datasets: Set<string>
}

type Json = Record<string, unknown>

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : String(value)
}

function listOf(value: unknown): Json[] {
  return Array.isArray(value) ? (value as Json[]) : []
}

/** int64 travels as a number, from some servers as text. */
export function parseInt64(value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : undefined
}

/** NaN and the infinities travel as texts, since JSON has no numbers for them. */
export function formatNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value)
}

/** Reads a metric's value, which may be the text of a number, NaN, Infinity or -Infinity. */
export function parseNumber(value: unknown): number {
  return value === undefined || value === null || value === '' ? 0 : Number(value)
}

export function parseExperiment(body: unknown): MlflowExperiment {
  const experiment = ((body as Json | undefined)?.experiment ?? {}) as Json
  return {
    id: textOf(experiment.experiment_id),
    name: textOf(experiment.name),
    stage: experiment.lifecycle_stage === 'deleted' ? 'deleted' : 'active',
  }
}

function parsePairs(value: unknown): Map<string, string> {
  return new Map(listOf(value).map((item) => [textOf(item.key), textOf(item.value)]))
}

function parseMetric(item: Json): Metric {
  return {
    key: textOf(item.key),
    value: parseNumber(item.value),
    timestamp: parseInt64(item.timestamp) ?? 0,
    step: parseInt64(item.step) ?? 0,
  }
}

/** Reads one run of a runs/get, runs/create or runs/search answer; fields that are not set are left out by the server. */
export function parseRun(value: unknown): MlflowRun {
  const run = value as { info?: Json; data?: Json; inputs?: Json }
  const info = run.info ?? {}
  const datasets = listOf(run.inputs?.dataset_inputs).map((input) => (input.dataset ?? {}) as Json)
  return {
    id: textOf(info.run_id ?? info.run_uuid),
    name: textOf(info.run_name),
    stage: info.lifecycle_stage === 'deleted' ? 'deleted' : 'active',
    status: textOf(info.status),
    startTime: parseInt64(info.start_time),
    endTime: parseInt64(info.end_time),
    params: parsePairs(run.data?.params),
    metrics: new Map(listOf(run.data?.metrics).map((item) => [textOf(item.key), parseMetric(item)])),
    tags: parsePairs(run.data?.tags),
    datasets: new Set(datasets.map((dataset) => datasetIdentity(textOf(dataset.name), textOf(dataset.digest)))),
  }
}

export function datasetIdentity(name: string, digest: string): string {
  return `${name}\n${digest}`
}

/** Cuts to `limit` code points, as Python counts, and replaces what databases refuse: NUL and half surrogate pairs. */
export function cleanText(text: string, limit: number): string {
  const clean = text.replace(/[\0\p{Surrogate}]/gu, '\ufffd')
  if (clean.length <= limit) return clean
  return [...clean].slice(0, limit).join('')
}

function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

/** MLflow takes letters, digits, `_ - . : /` and blanks in keys, of a form that posix normalisation leaves alone, up to 250 code points. */
function normalKey(key: string): string {
  const segments = key
    .replace(/[^\p{L}\p{N}_/.\- :]/gu, '_')
    .split('/')
    .filter((segment) => segment !== '' && segment !== '.')
    .map((segment) => (segment === '..' ? '__' : segment))
  const joined = segments.join('/')
  // MLflow refuses every key that starts with two dots, as a path that leads out.
  const safe = joined.startsWith('..') ? `__${joined.slice(2)}` : joined
  if (safe === '') return '_'
  const points = [...safe]
  if (points.length <= LIMITS.key) return safe
  // A cut at a slash would leave a key that normalisation changes.
  const head = points
    .slice(0, LIMITS.key - 9)
    .join('')
    .replace(/\/+$/, '')
  return `${head}-${shortHash(key)}`
}

/** Gives every key a form MLflow takes; two keys never share one: those that would carry a part of their own hash.
 *  @returns key → key for MLflow, in the order given; the same for the same set of keys, whatever their order */
export function normaliseKeys(keys: Iterable<string>): Map<string, string> {
  const all = [...new Set(keys)]
  const uses = new Map<string, number>()
  for (const key of all) uses.set(normalKey(key), (uses.get(normalKey(key)) ?? 0) + 1)
  return new Map(
    all.map((key) => {
      const normal = normalKey(key)
      if (normal === key || uses.get(normal) === 1) return [key, normal]
      return [key, normalKey(`${[...normal].slice(0, LIMITS.key - 9).join('')}-${shortHash(key)}`)]
    }),
  )
}

export interface LogBatch {
  params: Pair[]
  metrics: Metric[]
}

/** Cuts params and metrics into batches of at most 100 params, 1000 items and 990,000 bytes of JSON. */
export function planBatches(params: Pair[], metrics: Metric[]): LogBatch[] {
  const batches: LogBatch[] = []
  let batch: LogBatch = { params: [], metrics: [] }
  let bytes = 0
  const room = (size: number, isParam: boolean) => {
    const full =
      bytes + size > LIMITS.batchBytes ||
      batch.params.length + batch.metrics.length >= LIMITS.batchItems ||
      (isParam && batch.params.length >= LIMITS.batchParams)
    if (full) {
      batches.push(batch)
      batch = { params: [], metrics: [] }
      bytes = 0
    }
    bytes += size
  }
  const sizeOf = (item: unknown) => Buffer.byteLength(JSON.stringify(item)) + 1
  for (const param of params) {
    room(sizeOf(param), true)
    batch.params.push(param)
  }
  for (const metric of metrics) {
    room(sizeOf(formatMetric(metric)), false)
    batch.metrics.push(metric)
  }
  if (batch.params.length + batch.metrics.length > 0) batches.push(batch)
  return batches
}

export function formatMetric(metric: Metric): Json {
  return { ...metric, value: formatNumber(metric.value) }
}

export function formatDataset(dataset: Dataset): Json {
  return {
    dataset: { name: dataset.name, digest: dataset.digest, source_type: dataset.sourceType, source: dataset.source },
    tags: [{ key: 'mlflow.data.context', value: 'training' }],
  }
}
