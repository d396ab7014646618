import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, rmSync, statfsSync, statSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeRepo, type Repo } from '../helpers/repo.ts'
import { mountCloningDisk } from '../helpers/small-disk.ts'

const SIZE = 60 << 20

/** A project on a disk whose files can share blocks. */
async function start(content: Buffer): Promise<Repo | undefined> {
  const origin = await makeRepo({ 'data/large': content, 'data/small': 'small\n' }, { init: true })
  let unmount: (() => void) | undefined
  const makeReady = (folder: string) => {
    unmount = mountCloningDisk(folder)
    if (unmount) onTestFinished(unmount)
  }
  const repo = await origin.copy({ makeReady })
  return unmount ? repo : undefined
}

function usedBytes(repo: Repo): number {
  const { bsize, blocks, bfree } = statfsSync(repo.dir)
  return (blocks - bfree) * bsize
}

describe('where files can share blocks', () => {
  it('the cache and the workspace need room for one of them, an edit reaches the workspace alone', async (context) => {
    const content = randomBytes(SIZE)
    const repo = await start(content)
    if (!repo) return context.skip('this user may not mount a disk, or mkfs.xfs is missing')
    const before = usedBytes(repo)
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(usedBytes(repo) - before).toBeLessThan(SIZE / 4)
    await repo.commit()
    rmSync(repo.path('data'), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(usedBytes(repo) - before).toBeLessThan(SIZE / 4)
    expect(readFileSync(repo.path('data/large')).equals(content)).toBe(true)
    expect(statSync(repo.path('data/large')).mode & 0o222).not.toBe(0)
    repo.write('data/large', 'edited')
    expect(await repo.mlv('fsck', '--read-data')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(await repo.mlv('checkout', '--force')).toMatchObject({ exitCode: 0 })
    expect(readFileSync(repo.path('data/large')).equals(content)).toBe(true)
  })

  it('an executable and a read-only file are stored as others are, and killed at any point nothing is lost', async (context) => {
    const repo = await start(randomBytes(3 << 20))
    if (!repo) return context.skip('this user may not mount a disk, or mkfs.xfs is missing')
    repo.write('data/tool', randomBytes(2 << 20))
    chmodSync(repo.path('data/tool'), 0o755)
    chmodSync(repo.path('data/large'), 0o400)
    for (const point of ['object: clone', 'object: flush', 'object: name']) {
      expect(await repo.mlvWith({ env: { MLV_FAULT: `kill:1@${point}` } }, 'add', 'data')).toMatchObject({ exitCode: -1 })
      expect(await repo.mlv('fsck')).toMatchObject({ exitCode: 0 })
    }
    expect(await repo.mlv('add', 'data')).toMatchObject({ exitCode: 0, stderr: '' })
    await repo.commit()
    rmSync(repo.path('data'), { recursive: true })
    expect(await repo.mlv('checkout')).toMatchObject({ exitCode: 0, stderr: '' })
    expect([statSync(repo.path('data/tool')).mode & 0o111, statSync(repo.path('data/large')).mode & 0o111]).toEqual([0o111, 0])
    expect(await repo.mlv('fsck', '--read-data')).toMatchObject({ exitCode: 0, stderr: '' })
  })
})
