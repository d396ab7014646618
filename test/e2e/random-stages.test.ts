import { existsSync, rmSync, utimesSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { listing } from '../helpers/listing.ts'
import { ok, pulledClone, RANDOM_STEPS_TIMEOUT, step, switchBranch, takeRandomSteps } from '../helpers/random-steps.ts'
import { makeRepo, type Repo } from '../helpers/repo.ts'

/** What stages may read; each also what those before it write: a file, a file that git keeps, a folder, a folder made file by file. */
const SOURCES = ['in/a', 'in', 'data', 'data/d']
const FOLDERS = new Set(['in', 'data', 'data/d', 'o3', 'o4'])
const STAGES = ['s1', 's2', 's3', 's4', 's5'] as const
type Name = (typeof STAGES)[number]

interface Spec {
  word: string
  deps: string[]
}

interface Model {
  branch: string
  stages: Record<Name, Spec>
  /** what each stage was made of when it ran last */
  made: Partial<Record<Name, string>>
  committed: Map<string, Pick<Model, 'stages' | 'made'>>
}

const outOf = (name: Name) => name.replace('s', 'o')

function commandOf(name: Name, { word, deps }: Spec): string {
  if (name === 's4') return `"mkdir -p {out}/$(dirname {in}); { echo ${word}; cat {in}; } > {out}/{in}"`
  const out = name === 's3' ? 'o3/f' : outOf(name)
  const read = `find ${deps.join(' ')} -type f | LC_ALL=C sort -u | while read f; do echo $f; cat $f; done`
  return `"${name === 's3' ? 'mkdir -p o3; ' : ''}{ echo ${word}; ${read}; } > ${out}"`
}

function write(model: Model, repo: Repo): void {
  const stages = STAGES.map((name) => {
    const spec = model.stages[name]
    const out = name === 's2' ? '{o2: {git: true}}' : outOf(name)
    const reads = name === 's4' ? `each: {input: ${spec.deps[0]}, glob: "**/[abcf]"}` : `deps: [${spec.deps.join(', ')}]`
    return `  ${name}: {cmd: ${commandOf(name, spec)}, ${reads}, outs: [${out}]}\n`
  })
  repo.write('mlv.yaml', `stages:\n${stages.join('')}`)
}

/** The files at or below a path, in order of their bytes. */
function filesAt(repo: Repo, path: string): [string, string][] {
  if (!existsSync(repo.path(path))) return []
  if (!FOLDERS.has(path)) return [[path, repo.read(path)]]
  const files = Object.entries(listing(repo.path(path))).flatMap(([below, text]): [string, string][] =>
    text === null ? [] : [[`${path}/${below}`, text]],
  )
  return files.sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
}

const readBy = (repo: Repo, { deps }: Spec) =>
  [...new Map(deps.flatMap((path) => filesAt(repo, path)))].sort(([a], [b]) => (a < b ? -1 : 1))

/** What a stage makes of what it reads. */
function expectedOf(repo: Repo, name: Name, spec: Spec): [string, string][] {
  const read = readBy(repo, spec)
  if (name === 's4') return read.map(([path, text]) => [`o4/${path}`, `${spec.word}\n${text}`])
  return [[name === 's3' ? 'o3/f' : outOf(name), `${spec.word}\n${read.map(([path, text]) => `${path}\n${text}`).join('')}`]]
}

const madeOf = (repo: Repo, spec: Spec) => JSON.stringify([spec, readBy(repo, spec)])

async function repro(model: Model, repo: Repo, ...options: string[]): Promise<void> {
  const before = new Map(STAGES.map((name) => [name, JSON.stringify(filesAt(repo, outOf(name)))]))
  const { stages } = JSON.parse(await ok(repo, 'repro', '--json', ...options))
  const outcomes = new Map<Name, string>(stages.map(({ stage, outcome }: { stage: Name; outcome: string }) => [stage, outcome]))
  for (const name of STAGES) {
    const spec = model.stages[name]
    const out = filesAt(repo, outOf(name))
    expect(out, name).toEqual(expectedOf(repo, name, spec))
    const made = madeOf(repo, spec)
    const isSame = model.made[name] === made && before.get(name) === JSON.stringify(out)
    expect([name, outcomes.get(name) === 'unchanged']).toEqual([name, isSame])
    model.made[name] = made
  }
}

async function expectUnchanged(repo: Repo): Promise<void> {
  const { stages } = JSON.parse(await ok(repo, 'repro', '--json'))
  expect(stages.map(({ outcome }: { outcome: string }) => outcome)).toEqual(STAGES.map(() => 'unchanged'))
  expect(JSON.parse(await ok(repo, 'status', '--json')).stages).toEqual([])
}

async function commit(model: Model, repo: Repo): Promise<void> {
  await repro(model, repo)
  await ok(repo, 'add', 'data')
  await repo.commit()
  model.committed.set(model.branch, structuredClone({ stages: model.stages, made: model.made }))
}

const words = fc.constantFrom('one', 'two', 'three')
const names = fc.constantFrom(...STAGES)
const files = fc.constantFrom('in/a', 'in/b', 'in/d/c', 'data/a', 'data/b', 'data/d/a', 'data/d/b')

const edits = [
  fc
    .tuple(files, words)
    .map(([path, word]) => step<Model>(`write ${word} to ${path}`, (_, repo) => repo.write(path, `${word}\n`))),
  files.map((path) =>
    step<Model>(`rm ${path}`, (_, repo) => {
      if (!['in/a', 'data/d/a'].includes(path)) rmSync(repo.path(path), { force: true })
    }),
  ),
  files.map((path) =>
    step<Model>(`touch ${path}`, (_, repo) => {
      if (existsSync(repo.path(path))) utimesSync(repo.path(path), new Date(), new Date())
    }),
  ),
  fc.tuple(names, words).map(([name, word]) =>
    step<Model>(`${name} says ${word}`, (model, repo) => {
      model.stages[name].word = word
      write(model, repo)
    }),
  ),
  fc.tuple(names, fc.nat()).map(([name, which]) => {
    const readable = [...SOURCES, ...STAGES.slice(0, STAGES.indexOf(name)).map(outOf)].filter(
      (path) => name !== 's4' || FOLDERS.has(path),
    )
    const dep = readable[which % readable.length]!
    return step<Model>(`${name} and ${dep}`, (model, repo) => {
      const { deps } = model.stages[name]
      const others = deps.filter((path) => path !== dep)
      model.stages[name].deps =
        name === 's4' ? [dep] : others.length === deps.length ? [...deps, dep] : others.length > 0 ? others : deps
      write(model, repo)
    })
  }),
]

const runs = [
  step<Model>('repro', repro),
  step<Model>('repro -j 3', (model, repo) => repro(model, repo, '-j', '3')),
  step<Model>('status', (_, repo) => ok(repo, 'status')),
  step<Model>('repro -n', (_, repo) => ok(repo, 'repro', '-n', '--explain')),
  step<Model>('repro twice', async (model, repo) => {
    await repro(model, repo)
    await expectUnchanged(repo)
  }),
]

const losses = [
  names.map((name) =>
    step<Model>(`rm ${outOf(name)}`, (_, repo) => rmSync(repo.path(outOf(name)), { recursive: true, force: true })),
  ),
  fc.constant(
    step<Model>('rm mlv.lock', (model, repo) => {
      rmSync(repo.path('mlv.lock'), { force: true })
      model.made = {}
    }),
  ),
]

const moves = [
  step<Model>('commit', commit),
  step<Model>('switch', async (model, repo) => {
    await commit(model, repo)
    await switchBranch(model, repo)
    Object.assign(model, structuredClone(model.committed.get(model.branch)))
  }),
  step<Model>('gc', (_, repo) => ok(repo, 'gc', '--yes')),
]

const others = [...runs, ...runs, ...moves].map((one) => fc.constant(one))

test('whatever is changed in which order, stages run when what they read has changed, and only then', {
  timeout: RANDOM_STEPS_TIMEOUT,
}, async () => {
  await takeRandomSteps<Model>(
    [...edits, ...edits, ...losses, ...others],
    async () => {
      const real = await makeRepo({ 'in/a': '1\n', 'in/d/c': '2\n', 'data/a': '1\n', 'data/d/a': '3\n' }, { init: true })
      await ok(real, 'remote', 'add', 'origin', real.path('../remote'))
      const model: Model = {
        branch: 'main',
        stages: {
          s1: { word: 'one', deps: ['in/a'] },
          s2: { word: 'one', deps: ['in', 'o1'] },
          s3: { word: 'one', deps: ['data', 'o2'] },
          s4: { word: 'one', deps: ['in'] },
          s5: { word: 'one', deps: ['o3', 'o4'] },
        },
        ...{ made: {}, committed: new Map() },
      }
      write(model, real)
      await ok(real, 'add', 'data')
      await commit(model, real)
      await real.git('branch', 'next')
      model.committed.set('next', structuredClone(model.committed.get('main')!))
      return { model, real }
    },
    async (model, repo) => {
      await commit(model, repo)
      await expectUnchanged(repo)
      await ok(repo, 'push')
      const clone = await pulledClone(repo, model.branch)
      await expectUnchanged(clone)
      for (const name of STAGES) expect(filesAt(clone, outOf(name))).toEqual(filesAt(repo, outOf(name)))
      clone.cleanup()
    },
  )
})
