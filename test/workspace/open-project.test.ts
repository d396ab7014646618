import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { silentProgress } from '../../src/base/progress.ts'
import { findPointers } from '../../src/workspace/find-pointers.ts'
import { initProject } from '../../src/workspace/init-project.ts'
import { chosenLinks, workingLinks } from '../../src/workspace/link.ts'
import { openProject } from '../../src/workspace/open-project.ts'
import type { Project, Surroundings } from '../../src/workspace/project.ts'
import { costOf } from '../helpers/cost.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

function surroundings(repo: Repo, more: Partial<Surroundings> = {}): Surroundings {
  return { cwd: repo.dir, env: repo.env, progress: silentProgress, warn: () => {}, command: 'mlv test', ...more }
}
const open = (repo: Repo, cwd = '.'): Promise<Project> => openProject(surroundings(repo, { cwd: repo.path(cwd) }))

describe('init', () => {
  it('marks the top of the repository, once', async () => {
    const repo = await makeRepo()
    expect(initProject(repo.dir, { subdir: false }).written).toEqual(['.mlv/config', '.mlvignore'])
    repo.write('.mlvignore', 'mine\n')
    expect(initProject(repo.dir, { subdir: false }).written).toEqual([])
    expect(repo.read('.mlvignore')).toBe('mine\n')
  })

  it('refuses folders below, unless they are meant', async () => {
    const repo = await makeRepo({ 'sub/deep/x': '' })
    expect(() => initProject(repo.path('sub'), { subdir: false })).toThrow(
      expect.objectContaining({ code: 'USAGE', hint: expect.stringContaining('--subdir') }),
    )
    initProject(repo.path('sub'), { subdir: true })
    expect(() => initProject(repo.path('sub/deep'), { subdir: false })).toThrow('belongs to the mlv project')
    expect(() => initProject(repo.path('.git/hooks'), { subdir: true })).toThrow('not a place')
  })

  it('refuses outside git with the command that helps', () => {
    expect(() => initProject(makeFolder().dir, { subdir: false })).toThrow(
      expect.objectContaining({ code: 'GIT_MISSING', hint: expect.stringContaining('git init') }),
    )
  })
})

describe('opening a project', () => {
  it('finds the nearest root, and keeps state apart by worktree and project', async () => {
    const repo = await makeRepo({ 'sub/x/y': '' })
    initProject(repo.dir, { subdir: false })
    initProject(repo.path('sub'), { subdir: true })
    await repo.commit()
    const top = await open(repo)
    const sub = await open(repo, 'sub/x')
    expect([top.root, top.prefix, sub.root, sub.prefix]).toEqual([repo.dir, '', repo.path('sub'), 'sub'])
    expect(top.homeDir).toBe(repo.path('.git/mlv'))
    expect(top.stateDir).toBe(repo.path('.git/mlv/state/main'))
    expect(sub.gitPath('x/y' as never)).toBe('sub/x/y')
    await repo.git('worktree', 'add', '-q', '../other')
    const other = await open(repo, '../other')
    expect(other.homeDir).toBe(top.homeDir)
    expect(new Set([top.stateDir, sub.stateDir, other.stateDir]).size).toBe(3)
    expect((await open(repo, '../other')).stateDir).toBe(other.stateDir)
  })

  it('does not look for a root outside the repository', async () => {
    const repo = await makeRepo()
    initProject(repo.dir, { subdir: false })
    mkdirSync(repo.path('nested'))
    await repo.git('init', '-q', 'nested')
    await expect(open(repo, 'nested')).rejects.toMatchObject({
      code: 'PROJECT_MISSING',
      hint: expect.stringContaining('mlv init'),
    })
    await expect(openProject(surroundings(repo, { cwd: makeFolder().dir }))).rejects.toMatchObject({ code: 'GIT_MISSING' })
  })

  it('opens the cache and a folder as remote, and says which remotes there are', async () => {
    const repo = await makeRepo()
    initProject(repo.dir, { subdir: false })
    const none = await open(repo)
    await expect(none.remote()).rejects.toMatchObject({
      code: 'REMOTE_MISSING',
      hint: expect.stringContaining('mlv remote add origin'),
    })
    repo.write('.mlv/config', 'remotes:\n  a:\n    url: store\n  b:\n    url: other\n')
    const project = await open(repo)
    await expect(project.remote()).rejects.toMatchObject({ code: 'REMOTE_MISSING', hint: expect.stringContaining('a, b') })
    await expect(project.remote('c')).rejects.toMatchObject({ code: 'REMOTE_UNKNOWN', hint: expect.stringContaining('a, b') })
    expect((await project.remote('a')).name).toBe('a')
    expect(repo.exists('store/mlv.json')).toBe(false)
    await project.remote('a', 'write')
    expect(repo.exists('store/mlv.json')).toBe(true)
    expect(await project.cache()).toBe(await project.cache())
    expect(repo.exists('.git/mlv/store/mlv.json')).toBe(true)
    expect(await project.git()).toBe(await project.git())
    await project.close()
  })

  it('moves the cache by cache.dir, and probes links once', async () => {
    const repo = await makeRepo()
    initProject(repo.dir, { subdir: false })
    repo.write('.git/mlv/config', 'cache:\n  dir: ../cache\n  link: [symlink, hardlink]\n')
    const project = await open(repo)
    await project.cache()
    expect(repo.exists('../cache/mlv.json')).toBe(true)
    expect(workingLinks(project)).toContain('hardlink')
    expect(chosenLinks(project)).toEqual(['symlink', 'hardlink', 'copy'])
    expect(Object.values(JSON.parse(repo.read('.git/mlv/state/links.json')) as object)).toHaveLength(1)
    repo.write('.git/mlv/state/links.json', '{broken')
    expect(workingLinks(project)).toContain('copy')
    expect(await repo.git('status', '--porcelain', '--', '.mlv')).toBe('?? .mlv/')
  })

  it('lets one at a time work under the lock, also within one process, and lets work that holds it go on', async () => {
    const repo = await makeRepo()
    initProject(repo.dir, { subdir: false })
    const project = await open(repo)
    const events: string[] = []
    const work = (name: string) =>
      project.locked(async () => {
        events.push(`${name} in`)
        await project.locked(async () => new Promise((done) => setTimeout(done, 20)))
        events.push(`${name} out`)
      })
    await Promise.all([work('a'), work('b')])
    expect(events).toEqual(['a in', 'a out', 'b in', 'b out'])
    expect(repo.exists('.git/mlv/lock')).toBe(false)
    await expect(project.locked(() => Promise.reject(new Error('inside')))).rejects.toThrow('inside')
    expect(repo.exists('.git/mlv/lock')).toBe(false)
  })

  it('waits for another mlv no longer than told, and stops waiting when interrupted', async () => {
    const repo = await makeRepo()
    initProject(repo.dir, { subdir: false })
    const holder = await open(repo)
    const interrupt = new AbortController()
    const warnings: string[] = []
    const warn = (line: string) => {
      warnings.push(line)
      interrupt.abort(new Error('stopped'))
    }
    await holder.locked(async () => {
      const hasty = await openProject(surroundings(repo, { lockTimeout: 0.05 }))
      await expect(hasty.locked(async () => {})).rejects.toMatchObject({ code: 'LOCK_HELD' })
      const patient = await openProject(surroundings(repo, { warn, signal: interrupt.signal, lockTimeout: 3600 }))
      await expect(patient.locked(async () => {})).rejects.toThrow('stopped')
    })
    expect(warnings[0]).toContain('mlv test')
  })
})

describe('finding pointers', () => {
  it('walks past what git ignores, tracked data, links, other repositories and projects', async () => {
    const repo = await makeRepo({
      'b.mlv': '',
      'a.mlv': '',
      'data.mlv': '',
      'data/inner.mlv': '',
      'sub/é.mlv': '',
      'sub/.gitignore': '/skipped\n!kept\n',
      'sub/skipped/x.mlv': '',
      'sub/kept/x.mlv': '',
      '.gitignore': 'ignored/\nkept/\n*.tmp.mlv\n',
      'ignored/x.mlv': '',
      'forced.tmp.mlv': '',
      'nested/.mlv/config': '',
      'nested/x.mlv': '',
      'folder.mlv/y.mlv': '',
      'excluded/x.mlv': '',
      'A.mlv': '',
      '.mlv/state.mlv': '',
    })
    initProject(repo.dir, { subdir: false })
    writeFileSync(repo.path('.git/info/exclude'), 'excluded\n')
    repo.write('.git/hidden.mlv', '')
    mkdirSync(repo.path('clone'))
    await repo.git('init', '-q', 'clone')
    repo.write('clone/x.mlv', '')
    await repo.git('config', 'core.symlinks', 'true')
    const { symlinkSync } = await import('node:fs')
    symlinkSync('sub', repo.path('link'))
    symlinkSync('a.mlv', repo.path('alias.mlv'))
    expect(findPointers(await open(repo))).toEqual([
      'A.mlv',
      'a.mlv',
      'b.mlv',
      'data.mlv',
      'folder.mlv/y.mlv',
      'forced.tmp.mlv',
      'sub/kept/x.mlv',
      'sub/é.mlv',
    ])
  })

  it('in a sub-directory heeds the ignore files above it', async () => {
    const repo = await makeRepo({ '.gitignore': '/p/out\n', 'p/out/x.mlv': '', 'p/in/x.mlv': '', 'q.mlv': '' })
    initProject(repo.path('p'), { subdir: true })
    expect(findPointers(await open(repo, 'p'))).toEqual(['in/x.mlv'])
  })

  it('finds 100 of them without looking at what is beside them, and dives into a deep tree', async () => {
    const names = Array.from({ length: 100 }, (_, i) => `d${i % 10}/data-${i}`)
    const repo = await makeRepo(
      Object.fromEntries(
        names.flatMap((name) => [
          [`${name}.mlv`, ''],
          [`${name}/file`, ''],
        ]),
      ),
    )
    for (let i = 0; i < 10; i++)
      repo.write(
        `d${i}/.gitignore`,
        names
          .filter((name) => name.startsWith(`d${i}/`))
          .map((name) => `${name.slice(2)}\n`)
          .join(''),
      )
    initProject(repo.dir, { subdir: false })
    repo.write(join(...Array(100).fill('deep'), 'x.mlv'), '')
    const project = await open(repo)
    expect(findPointers(project)).toHaveLength(101)
    const listing = costOf(() => readdirSync(repo.dir, { recursive: true, withFileTypes: true }))
    expect(costOf(() => findPointers(project))).toBeLessThan(10 * listing)
  })
})
