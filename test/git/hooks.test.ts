import { chmodSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parsePushedRefs } from '../../src/git/hook-input.ts'
import {
  findHookBlock,
  formatHookBlock,
  HOOK_NAMES,
  insertHookBlock,
  isShellScript,
  removeHookBlock,
} from '../../src/git/hook-script.ts'
import { makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'

const program = { node: "/opt/no'de", script: '/opt/mlv.js' }
const ZERO = '0'.repeat(40)

describe('the lines in a hook', () => {
  it.each([
    ['', undefined],
    ['#!/bin/sh\n', undefined],
    ['#!/bin/sh\nmake lint\n', '#!/bin/sh\nmake lint\n'],
    ['#!/usr/bin/env bash\nexit 0', '#!/usr/bin/env bash\nexit 0'],
    ['#!/bin/zsh', '#!/bin/zsh\n'],
    ['make lint\n', '#!/bin/sh\nmake lint\n'],
  ])('go into %j and leave as they came', (before, after) => {
    for (const name of HOOK_NAMES) {
      const block = formatHookBlock(name, program)
      const once = insertHookBlock(before, block)
      expect(findHookBlock(once)).toBe(block)
      expect(insertHookBlock(once, block)).toBe(once)
      expect(findHookBlock(insertHookBlock(once, formatHookBlock(name, undefined)))).toBe(formatHookBlock(name, undefined))
      expect(removeHookBlock(once)).toBe(after)
    }
  })

  it.each([
    ['#!/bin/sh\n', true],
    ['#!/usr/bin/env bash\n', true],
    ['#!/bin/bash -e\n', true],
    ['#! /bin/dash\n', true],
    ['make\n', true],
    ['#!/usr/bin/env python3\n', false],
    ['#!/usr/bin/fish\n', false],
    ['#!/usr/bin/env node\n', false],
    ['\x7fELF\0\0', false],
  ])('are for shell scripts: %j', (text, is) => {
    expect(isShellScript(text)).toBe(is)
  })
})

describe('what git tells a pre-push hook', () => {
  it('is read line by line', () => {
    const [a, b] = ['a'.repeat(40), 'b'.repeat(40)]
    expect(
      parsePushedRefs(
        `refs/heads/main ${a} refs/heads/main ${b}\n(delete) ${ZERO} refs/heads/x ${b}\nHEAD~1 ${a} refs/heads/new ${ZERO}\n`,
      ),
    ).toEqual([
      { local: 'refs/heads/main', localCommit: a, remote: 'refs/heads/main', remoteCommit: b },
      { local: '(delete)', localCommit: undefined, remote: 'refs/heads/x', remoteCommit: b },
      { local: 'HEAD~1', localCommit: a, remote: 'refs/heads/new', remoteCommit: undefined },
    ])
    expect(parsePushedRefs('')).toEqual([])
    expect(() => parsePushedRefs('garbage\n')).toThrow(expect.objectContaining({ code: 'USAGE' }))
  })
})

describe('mlv hooks', () => {
  const hooksOf = (repo: Repo) =>
    readdirSync(repo.path('.git/hooks'))
      .filter((name) => !name.endsWith('.sample'))
      .sort()

  it('installs, tells and uninstalls', async () => {
    const repo = await makeRepo({}, { init: true })
    expect(await repo.mlv('hooks', 'install')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('.git/hooks/pre-push'),
    })
    expect(hooksOf(repo)).toEqual([...HOOK_NAMES].sort())
    expect(await repo.mlv('hooks', 'install')).toMatchObject({ exitCode: 0, stdout: 'all hooks are installed already\n' })
    const status = await repo.mlv('hooks', 'status', '--json')
    expect(JSON.parse(status.stdout)).toMatchObject({
      scope: 'repository',
      hooks: HOOK_NAMES.map((name) => ({ name, state: 'installed' })),
    })
    expect(await repo.mlv('hooks', 'uninstall')).toMatchObject({ exitCode: 0 })
    expect(hooksOf(repo)).toEqual([])
    expect(await repo.mlv('hooks', 'uninstall')).toMatchObject({ exitCode: 0, stdout: 'no hook calls mlv\n' })
  })

  it('leaves other lines of a hook as they are', async () => {
    const repo = await makeRepo({}, { init: true })
    const text = '#!/bin/bash\nset -eu\necho mine\nexit 0\n'
    repo.write('.git/hooks/post-merge', text)
    chmodSync(repo.path('.git/hooks/post-merge'), 0o750)
    await repo.mlv('hooks', 'install', 'post-merge')
    expect(hooksOf(repo)).toEqual(['post-merge'])
    expect(repo.read('.git/hooks/post-merge')).toMatch(
      /^#!\/bin\/bash\n# mlv begin[\s\S]*# mlv end\nset -eu\necho mine\nexit 0\n$/,
    )
    await repo.mlv('hooks', 'uninstall')
    expect(repo.read('.git/hooks/post-merge')).toBe(text)
  })

  it.each([
    ['#!/usr/bin/env python3\nprint()\n', 0o755, 'is not a shell script', 'mlv hook pre-push "$@"'],
    ['#!/bin/sh\nexit 1\n', 0o644, 'is not executable', 'chmod +x'],
  ])('refuses a hook it must not touch, and changes nothing', async (text, mode, message, hint) => {
    const repo = await makeRepo({}, { init: true })
    repo.write('.git/hooks/pre-push', text)
    chmodSync(repo.path('.git/hooks/pre-push'), mode)
    const result = await repo.mlv('hooks', 'install')
    expect(result).toMatchObject({ exitCode: 4, stdout: '' })
    expect(result.stderr).toContain(message)
    expect(result.stderr).toContain(hint)
    expect(hooksOf(repo)).toEqual(['pre-push'])
    expect(repo.read('.git/hooks/pre-push')).toBe(text)
  })

  it('refuses a hook that is a link', async () => {
    const repo = await makeRepo({ 'tools/hook': '#!/bin/sh\n' }, { init: true })
    chmodSync(repo.path('tools/hook'), 0o755)
    mkdirSync(repo.path('.git/hooks'), { recursive: true })
    symlinkSync(repo.path('tools/hook'), repo.path('.git/hooks/pre-commit'))
    expect(await repo.mlv('hooks', 'install')).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('link') })
    expect(repo.read('tools/hook')).toBe('#!/bin/sh\n')
  })

  it('respects core.hooksPath, and writes no path of this machine into hooks that git tracks', async () => {
    const repo = await makeRepo({}, { init: true })
    await repo.git('config', 'core.hooksPath', '.githooks')
    expect(await repo.mlv('hooks', 'install')).toMatchObject({
      exitCode: 0,
      stdout: expect.stringContaining('git tracks this folder'),
    })
    expect(hooksOf(repo)).toEqual([])
    expect(repo.read('.githooks/pre-push')).not.toContain(process.execPath)
    await repo.git('config', 'core.hooksPath', '~/hooks')
    await repo.mlv('hooks', 'install')
    expect(existsSync(join(repo.env.HOME!, 'hooks', 'pre-push'))).toBe(true)
    await repo.git('config', 'core.hooksPath', '/dev/null')
    expect(await repo.mlv('hooks', 'install')).toMatchObject({
      exitCode: 4,
      stderr: expect.stringContaining('git config --unset core.hooksPath'),
    })
    expect(await repo.mlv('hooks', 'status')).toMatchObject({ exitCode: 0 })
  })

  it('names the hooks there are', async () => {
    const repo = await makeRepo({}, { init: true })
    expect(await repo.mlv('hooks', 'install', 'pre-cook')).toMatchObject({
      exitCode: 2,
      stderr: expect.stringContaining('pre-commit'),
    })
    expect(await repo.mlv('hook', 'pre-cook')).toMatchObject({ exitCode: 2 })
    expect(await run('git', ['status'], { cwd: makeFolder().dir, env: repo.env })).toMatchObject({ exitCode: 128 })
    expect(await repo.mlvWith({ cwd: makeFolder().dir }, 'hooks', 'install')).toMatchObject({ exitCode: 3 })
  })
})

/** A project with two versions of data on two branches, hooks installed, a folder as remote and a bare repository as origin. */
async function makeTeam() {
  const repo = await makeRepo({ 'data/a.txt': 'one\n', 'data/b.txt': 'same\n' }, { init: true })
  const { dir } = makeFolder()
  await repo.git('init', '-q', '--bare', join(dir, 'origin.git'))
  await repo.git('remote', 'add', 'origin', join(dir, 'origin.git'))
  const expectDone = async (...args: string[]) => expect(await repo.mlv(...args)).toMatchObject({ exitCode: 0 })
  await expectDone('remote', 'add', 'store', join(dir, 'store'), '--local')
  await expectDone('add', 'data')
  await repo.commit('one')
  await repo.git('switch', '-q', '-c', 'two')
  repo.write('data/a.txt', 'two\n')
  await expectDone('add', 'data')
  await repo.commit('two')
  await expectDone('hooks', 'install')
  return { repo, store: join(dir, 'store'), origin: join(dir, 'origin.git') }
}

describe('git with hooks installed', () => {
  it('places the data of the branch it switches to', async () => {
    const { repo } = await makeTeam()
    await repo.git('switch', '-q', 'main')
    expect(repo.read('data/a.txt')).toBe('one\n')
    await repo.git('switch', '-q', 'two')
    expect(repo.read('data/a.txt')).toBe('two\n')
    await repo.git('switch', '-q', 'main')
    await repo.git('merge', '-q', 'two')
    expect(repo.read('data/a.txt')).toBe('two\n')
  })

  it('fills a new worktree', async () => {
    const { repo } = await makeTeam()
    const other = join(makeFolder().dir, 'other')
    await repo.git('worktree', 'add', '-q', other, 'main')
    expect(repo.read(join(other, 'data/a.txt'))).toBe('one\n')
    expect(repo.read('data/a.txt')).toBe('two\n')
  })

  it('keeps work that is in no cache, and git goes on', async () => {
    const { repo } = await makeTeam()
    repo.write('data/a.txt', 'unsaved\n')
    const result = await run('git', ['switch', 'main'], { cwd: repo.dir, env: repo.env })
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('warning:') })
    expect(repo.read('data/a.txt')).toBe('unsaved\n')
    expect(await repo.git('branch', '--show-current')).toBe('main')
  })

  it('places the data once a rebase has ended', async () => {
    const { repo } = await makeTeam()
    await repo.git('switch', '-q', 'main')
    repo.write('other', '1')
    await repo.mlv('add', 'other')
    await repo.commit('other')
    await repo.git('switch', '-q', '-c', 'side')
    repo.write('code.py', '1')
    await repo.commit('code')
    await repo.git('switch', '-q', 'main')
    repo.write('other', '2')
    await repo.mlv('add', 'other')
    await repo.commit('other again')
    await repo.git('switch', '-q', 'side')
    expect(repo.read('other')).toBe('1')
    await repo.git('rebase', '-q', 'main')
    expect(repo.read('other')).toBe('2')
    expect(await repo.mlv('status')).toMatchObject({ stdout: 'up to date\n' })
  })

  it('warns of data that a commit would leave out', async () => {
    const { repo } = await makeTeam()
    repo.write('data/a.txt', 'three\n')
    repo.write('code.py', '1')
    const result = await run('git', ['-c', 'core.editor=true', 'commit', '--allow-empty', '-am', 'code'], {
      cwd: repo.dir,
      env: repo.env,
    })
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('data differs from its pointer') })
  })

  it('pushes data first', async () => {
    const { repo, store, origin } = await makeTeam()
    await repo.git('push', '-q', 'origin', 'main', 'two')
    expect(readdirSync(store)).toContain('packs')
    const clone = await repo.clone()
    await clone.git('remote', 'set-url', 'origin', origin)
    await clone.git('switch', '-q', 'main')
    await clone.mlv('remote', 'add', 'store', store, '--local')
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0 })
    expect(clone.read('data/a.txt')).toBe('one\n')
    await clone.git('fetch', '-q')
    await clone.git('switch', '-q', 'two')
    expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0 })
    expect(clone.read('data/a.txt')).toBe('two\n')
  })

  it('does not push commits whose data cannot be pushed', async () => {
    const { repo, store } = await makeTeam()
    writeFileSync(store, 'a file where the remote should be')
    const result = await run('git', ['push', 'origin', 'main'], { cwd: repo.dir, env: repo.env })
    expect(result.exitCode).not.toBe(0)
    expect(result.stderr).toContain('error:')
    expect(await repo.git('ls-remote', 'origin')).toBe('')
    expect(await run('git', ['push', '-q', '--no-verify', 'origin', 'main'], { cwd: repo.dir, env: repo.env })).toMatchObject({
      exitCode: 0,
    })
    // Nothing that changes a pointer is pushed, so the broken remote is not asked.
    await repo.git('push', '-q', 'origin', 'main:refs/heads/again')
    await repo.git('push', '-q', 'origin', ':refs/heads/again')
  })

  it('hands what git tells pre-push on to the other lines of the hook', async () => {
    const { repo } = await makeTeam()
    await repo.mlv('hooks', 'uninstall')
    repo.write('.git/hooks/pre-push', '#!/bin/sh\ncat > seen\nexit 0\n')
    chmodSync(repo.path('.git/hooks/pre-push'), 0o755)
    await repo.mlv('hooks', 'install')
    await repo.git('push', '-q', 'origin', 'two')
    const tip = await repo.git('rev-parse', 'two')
    expect(repo.read('seen')).toBe(`refs/heads/two ${tip} refs/heads/two ${ZERO}\n`)
  })

  it('goes on where mlv is gone, but pushes no commits without their data', async () => {
    const { repo } = await makeTeam()
    const git = (await run('sh', ['-c', 'command -v git'], { cwd: repo.dir, env: repo.env })).stdout.trim()
    for (const name of HOOK_NAMES)
      repo.write(`.git/hooks/${name}`, repo.read(`.git/hooks/${name}`).replaceAll('mlv.js', 'gone.js'))
    const env = { ...repo.env, PATH: [dirname(git), '/bin'].join(delimiter) }
    const result = await run('git', ['switch', 'main'], { cwd: repo.dir, env })
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('mlv is not on PATH') })
    expect(await run('git', ['push', 'origin', 'main'], { cwd: repo.dir, env })).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('--no-verify'),
    })
    expect(
      await run('git', ['push', '-q', 'origin', 'main'], { cwd: repo.dir, env: { ...env, MLV_SKIP_HOOKS: '1' } }),
    ).toMatchObject({ exitCode: 0 })
  })

  it('says nothing in a branch without mlv', async () => {
    const { repo } = await makeTeam()
    await repo.git('switch', '-q', '--orphan', 'bare')
    const result = await run('git', ['commit', '-q', '--allow-empty', '-m', 'empty'], { cwd: repo.dir, env: repo.env })
    expect(result).toEqual({ exitCode: 0, stdout: '', stderr: '' })
  })

  it('finds projects below the top of the work tree', async () => {
    const repo = await makeRepo({ 'sub/data': 'one\n' })
    expect(await repo.mlvWith({ cwd: 'sub' }, 'init', '--subdir')).toMatchObject({ exitCode: 0 })
    await repo.mlvWith({ cwd: 'sub' }, 'add', 'data')
    await repo.commit('one')
    await repo.git('switch', '-q', '-c', 'two')
    repo.write('sub/data', 'two\n')
    await repo.mlvWith({ cwd: 'sub' }, 'add', 'data')
    await repo.commit('two')
    await repo.mlv('hooks', 'install')
    await repo.git('switch', '-q', 'main')
    expect(repo.read('sub/data')).toBe('one\n')
  })
})
