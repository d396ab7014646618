import { afterAll, describe, expect, it } from 'vitest'
import { startS3 } from '../helpers/s3-server.ts'
import { halted, makeWorld, ok, pass } from './garbage-world.ts'
import { pointedAt, unreadable } from './soundness.ts'

const server = await startS3()
afterAll(() => server?.stop())

/** The first write of a push to such a place. */
const FIRST_WRITE = { folder: 'blob: open', bucket: 'blob: write' }
// The tests make time pass by the times of files.
const KINDS = (['folder', 'bucket'] as const).filter((kind) => kind === 'folder' || server?.folder !== undefined)

describe.skipIf(process.platform === 'win32').each(KINDS)('beside a collection of a %s', (kind) => {
  it('a push that counted on what both passes delete sends it again', async () => {
    const { repo, clone, remote } = await makeWorld(kind === 'bucket' ? server : undefined)
    const goOn = await halted(clone, FIRST_WRITE[kind], 'push')
    const done = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--grace', '0', '--force'))
    expect(done.done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a push beside the first pass sends again what was condemned, and the second pass leaves that', async () => {
    const { repo, clone, remote } = await makeWorld(kind === 'bucket' ? server : undefined)
    pass(remote, 31)
    const goOn = await halted(clone, FIRST_WRITE[kind], 'push')
    const first = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(first.condemn.packs).toBe(1)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    pass(remote, 31)
    const second = JSON.parse(await ok(clone, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.delete.packs).toBe(1)
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a push beside the second pass finds what it needs condemned before, and sends it', async () => {
    const { repo, clone, remote } = await makeWorld(kind === 'bucket' ? server : undefined)
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    const goOn = await halted(clone, FIRST_WRITE[kind], 'push')
    const second = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toEqual({ exitCode: 0, stderr: '' })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('a collection that halts between its listing and its deletion takes nothing that was pushed meanwhile', async () => {
    const { repo, clone, remote } = await makeWorld(kind === 'bucket' ? server : undefined)
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    const goOn = await halted(repo, 'blob: delete', 'gc', '-r', '--yes', '--force')
    await ok(clone, 'push')
    expect(await goOn()).toMatchObject({ exitCode: 0 })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('two collections at once leave what is needed', async () => {
    const { repo, clone, remote } = await makeWorld(kind === 'bucket' ? server : undefined)
    await ok(clone, 'push')
    const results = await Promise.all(
      [repo, clone, clone].map((one) => one.mlv('gc', '-r', '--yes', '--grace', '0', '--force', '--projects', clone.dir)),
    )
    for (const result of results) expect(result).toMatchObject({ exitCode: 0 })
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })
})

describe.skipIf(process.platform === 'win32')('beside a collection of the cache', () => {
  it('an add that counted on what is deleted from the cache stores it again before its pointer names it', async () => {
    const { clone } = await makeWorld()
    await clone.git('reset', '-q', '--hard', 'HEAD~1')
    await clone.git('clean', '-fdq', '-e', 'data')
    clone.write('data/c', 'new c')
    const goOn = await halted(clone, 'blob: open', 'add', 'data')
    const { done } = JSON.parse(await ok(clone, 'gc', '--yes', '--json', '--grace', '0', '--force'))
    expect(done.deleted).toBeGreaterThan(0)
    expect(await goOn()).toMatchObject({ exitCode: 0 })
    expect(clone.exists('data.mlv')).toBe(true)
    expect(await unreadable(clone.path('.git/mlv/store'), 'cache', await pointedAt(clone.dir))).toEqual([])
  })
})
