import { describe, expect, it } from 'vitest'
import { type ExportRow, formatRun, publicUrl, repositoryName } from '../../src/mlflow/run.ts'

const row: ExportRow = {
  commit: 'a'.repeat(40),
  time: 1_700_000_000_000,
  author: { name: 'Ada', email: 'ada@example.org' },
  subject: 'Lower the rate',
  labels: [],
  params: { train: { lr: 0.1, layers: [1, 2] }, seed: 1 },
  metrics: { accuracy: 0.9, 'f1 (macro)': 0.8 },
  datasets: [],
}
const source = { prefix: '', remoteUrl: undefined, name: 'penguins' }

describe('a row as a run', () => {
  it('has params and metrics by key, sorted', () => {
    const run = formatRun(row, source)
    expect(run.params).toEqual([
      { key: 'seed', value: '1' },
      { key: 'train.layers', value: '[1,2]' },
      { key: 'train.lr', value: '0.1' },
    ])
    expect(run.metrics).toEqual([
      { key: 'accuracy', value: 0.9, timestamp: row.time, step: 0 },
      { key: 'f1 _macro_', value: 0.8, timestamp: row.time, step: 0 },
    ])
    expect(run.notes).toEqual(['metric "f1 (macro)" is called "f1 _macro_" in MLflow'])
  })

  it('is named by its experiment branch, else by its subject', () => {
    expect(formatRun({ ...row, labels: ['main'] }, source).name).toBe('Lower the rate')
    expect(formatRun({ ...row, labels: ['main', 'exp/lr'] }, source).name).toBe('exp/lr')
  })

  it('keeps its digest when branches move and remotes change, not when a value changes', () => {
    const { digest } = formatRun(row, source)
    expect(formatRun({ ...row, labels: ['exp/lr'] }, { ...source, remoteUrl: 'https://example.org/x.git' }).digest).toBe(digest)
    expect(formatRun({ ...row, metrics: { ...row.metrics, accuracy: 0.91 } }, source).digest).not.toBe(digest)
    expect(formatRun({ ...row, metrics: { 'f1 (macro)': 0.8, accuracy: 0.9 } }, source).digest).toBe(digest)
  })

  it('has a key of its own in each project of a repository', () => {
    expect(formatRun(row, source).key).toBe(row.commit)
    expect(formatRun(row, { ...source, prefix: 'models/a' }).key).toBe(`${row.commit}:models/a`)
  })

  it('tells what does not fit MLflow', () => {
    const run = formatRun(
      { ...row, params: { prompt: 'x'.repeat(7000) }, metrics: { best: 'resnet', nothing: null, bad: Number.NaN, good: true } },
      source,
    )
    expect(run.params[0]?.value).toHaveLength(6000)
    expect(run.metrics.map((metric) => [metric.key, metric.value])).toEqual([
      ['bad', Number.NaN],
      ['good', 1],
    ])
    expect(run.notes).toEqual([
      'param "prompt" is cut to 6000 characters in MLflow',
      'metric "best" is no number and stays out of MLflow',
    ])
  })
})

describe('a remote URL', () => {
  it.each([
    ['https://ada:secret@example.org/team/penguins.git', 'https://example.org/team/penguins.git'],
    ['https://token@example.org/penguins?key=secret#x', 'https://example.org/penguins'],
    ['ssh://git:secret@example.org/penguins.git', 'ssh://git@example.org/penguins.git'],
    ['git@example.org:team/penguins.git', 'git@example.org:team/penguins.git'],
    ['/srv/git/penguins.git', undefined],
    ['file:///srv/git/penguins.git', undefined],
    ['C:/git/penguins.git', undefined],
  ])('%s is shown as %s', (url, expected) => {
    expect(publicUrl(url)).toBe(expected)
  })

  it.each(['https://example.org/team/penguins.git', 'git@example.org:penguins.git', '/srv/penguins/', 'C:\\git\\penguins'])(
    '%s names the repository',
    (url) => {
      expect(repositoryName(url)).toBe('penguins')
    },
  )
})
