import { spawn } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo } from '../helpers/repo.ts'

describe('many at once', () => {
  it('adds to one folder, its sub-folders, and other paths: none is lost', async () => {
    const repo = await makeRepo({ 'data/a/0': '0', 'data/b/0': '0' }, { init: true })
    await repo.mlv('add', 'data')
    const names = ['data/a/1', 'data/a/2', 'data/b/1', 'data/c', 'x', 'y']
    for (const name of names) repo.write(name, name)
    const results = await Promise.all(names.map((name) => repo.mlv('add', name)))
    for (const result of results)
      expect({ ...result, stderr: result.stderr.replace(/^warning: waiting .*\n/gm, '') }).toMatchObject({
        exitCode: 0,
        stderr: '',
      })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    const before = listing(repo.path('data'))
    for (const path of ['data', 'x', 'y']) rmSync(repo.path(path), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual(before)
    expect(repo.read('.gitignore').split('\n').sort()).toEqual(['', '/data', '/x', '/y'])
  })

  it('whole folders added at once: one wins, the other is told to run again', async () => {
    const repo = await makeRepo({ 'data/a': '0' }, { init: true })
    await repo.mlv('add', 'data')
    repo.write('data/b', 'b')
    const results = await Promise.all([repo.mlv('add', 'data'), repo.mlv('add', 'data')])
    for (const { exitCode, stderr } of results)
      if (exitCode !== 0) expect({ exitCode, stderr }).toMatchObject({ exitCode: 4, stderr: expect.stringContaining('again') })
    expect(results.some(({ exitCode }) => exitCode === 0)).toBe(true)
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })

  it('pushes of different clones to one remote', async () => {
    const remote = makeFolder().dir
    const repo = await makeRepo({ 'data/a': 'a' }, { init: true })
    await repo.mlv('remote', 'add', 'origin', remote)
    await repo.mlv('add', 'data')
    await repo.commit()
    const clones = await Promise.all([1, 2, 3].map(() => repo.clone()))
    await Promise.all(
      clones.map(async (clone, i) => {
        await clone.mlv('remote', 'add', 'origin', remote, '--local')
        clone.write(`mine${i}`, `mine ${i}`)
        await clone.mlv('add', `mine${i}`)
      }),
    )
    await repo.mlv('remote', 'add', 'origin', remote, '--local')
    const results = await Promise.all(
      [repo, ...clones].map((clone, i) => (i === 0 ? clone.mlv('push') : clone.mlv('push', `mine${i - 1}`))),
    )
    for (const result of results) expect(result).toMatchObject({ exitCode: 0, stderr: '' })
    for (const [i, clone] of clones.entries()) {
      rmSync(clone.path(`mine${i}`))
      rmSync(clone.path('.git/mlv/store'), { recursive: true })
      expect(await clone.mlv('pull')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(clone.read(`mine${i}`)).toBe(`mine ${i}`)
    }
  })

  it('status beside checkouts and adds never fails and never forgets', async () => {
    const repo = await makeRepo({ 'data/a': 'a', 'data/b': 'b' }, { init: true })
    await repo.mlv('add', 'data')
    for (let i = 0; i < 3; i++) {
      rmSync(repo.path('data'), { recursive: true })
      const [status, checkout] = await Promise.all([repo.mlv('status'), repo.mlv('checkout'), repo.mlv('status', '--json')])
      expect(status).toMatchObject({ exitCode: 0, stderr: '' })
      expect(checkout).toMatchObject({ exitCode: 0, stderr: '' })
      expect((await repo.mlv('status')).stdout).toBe('up to date\n')
    }
    rmSync(repo.path('data/a'))
    expect((await repo.mlv('status')).stdout).toMatch(/deleted +data\/a/)
  })

  it('files that come and go while a folder is added', async () => {
    const repo = await makeRepo({}, { init: true })
    for (let i = 0; i < 300; i++) repo.write(`data/${i}`, String(i))
    const script = `const fs=require('fs');const d=process.argv[1];const end=Date.now()+300000;process.stdout.write('go');let i=0;
      while(Date.now()<end){const p=d+'/'+(i++%300);try{fs.unlinkSync(p)}catch{};fs.writeFileSync(p,'x'+i)}`
    const writer = spawn(process.execPath, ['-e', script, repo.path('data')], { stdio: ['ignore', 'pipe', 'ignore'] })
    const ended = new Promise((done) => writer.once('exit', done))
    try {
      await new Promise((done) => writer.stdout.once('data', done))
      const result = await repo.mlv('add', 'data')
      expect([0, 2, 4]).toContain(result.exitCode)
      expect(result.stderr).not.toContain('has a bug')
    } finally {
      writer.kill('SIGKILL')
      await ended
    }
    writeFileSync(repo.path('data/0'), 'whole')
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect((await repo.mlv('status')).stdout).toBe('up to date\n')
  })
})
