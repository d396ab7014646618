import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { oidOfBytes } from '../../src/base/oid.ts'
import { openCheckedObjects } from '../../src/workspace/checked-objects.ts'
import type { LinkType } from '../../src/workspace/config.ts'
import { placeFile, probeLinks } from '../../src/workspace/link.ts'

const made: string[] = []
function folder(parent = tmpdir()): string {
  const dir = mkdtempSync(join(parent, 'mlv-link-'))
  made.push(dir)
  return dir
}
afterAll(() => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true })
})

/** Another file system than the temp folder's, where there is one that can be written. */
const elsewhere = existsSync('/dev/shm') && statSync('/dev/shm').dev !== statSync(tmpdir()).dev ? '/dev/shm' : undefined

function world() {
  const cache = folder()
  const workspace = folder()
  const from = join(cache, 'object')
  writeFileSync(from, 'bytes')
  chmodSync(from, 0o444)
  return { cache, workspace, from, to: join(workspace, 'name') }
}

describe('probing', () => {
  it('finds what really works, and leaves nothing behind', () => {
    const { cache, workspace } = world()
    const types = probeLinks(cache, workspace)
    expect(types).toEqual(expect.arrayContaining(['hardlink', 'symlink', 'copy']))
    expect(types.at(-1)).toBe('copy')
    expect(readdirSync(cache)).toEqual(['object'])
    expect(readdirSync(workspace)).toEqual([])
  })

  it.skipIf(!elsewhere)('finds no hard link between two file systems', () => {
    const types = probeLinks(folder(), folder(elsewhere))
    expect(types).not.toContain('hardlink')
    expect(types).not.toContain('reflink')
    expect(types).toEqual(expect.arrayContaining(['symlink', 'copy']))
  })
})

describe('placing', () => {
  it.each<[LinkType[], LinkType]>([
    [['hardlink', 'copy'], 'hardlink'],
    [['symlink'], 'symlink'],
    [['copy'], 'copy'],
    [[], 'copy'],
  ])('%j places by %s', async (types, used) => {
    const { from, to, workspace } = world()
    expect(await placeFile(from, to, { types, mode: 0o644 })).toBe(used)
    expect(readFileSync(to, 'utf8')).toBe('bytes')
    expect(readdirSync(workspace)).toEqual(['name'])
    expect(statSync(to).mode & 0o777).toBe(used === 'copy' ? 0o644 : 0o444)
    expect(lstatSync(to).isSymbolicLink()).toBe(used === 'symlink')
    expect(statSync(to).ino === statSync(from).ino).toBe(used !== 'copy')
    expect(statSync(from).mode & 0o777).toBe(0o444)
  })

  it('copies an executable, because links would share the bit', async () => {
    const { from, to } = world()
    expect(await placeFile(from, to, { types: ['hardlink', 'symlink'], mode: 0o755 })).toBe('copy')
    expect(statSync(to).mode & 0o777).toBe(0o755)
  })

  it('replaces what was there, and never writes through a link to the cache', async () => {
    const { from, to, cache } = world()
    await placeFile(from, to, { types: ['symlink'], mode: 0o644 })
    const other = join(cache, 'other')
    writeFileSync(other, 'new')
    await placeFile(other, to, { types: ['copy'], mode: 0o644 })
    expect(readFileSync(from, 'utf8')).toBe('bytes')
    expect(readFileSync(to, 'utf8')).toBe('new')
  })

  it.skipIf(!elsewhere)('falls back to a copy where links do not reach', async () => {
    const { from } = world()
    const to = join(folder(elsewhere), 'name')
    expect(await placeFile(from, to, { types: ['reflink', 'hardlink'], mode: 0o600 })).toBe('copy')
    expect(statSync(to).mode & 0o777).toBe(0o600)
  })

  it.each<LinkType>(['symlink', 'hardlink', 'copy'])('by %s gives no name to what is not what it should be', async (type) => {
    const { from, to, workspace } = world()
    const mode = 0o644
    const checked = openCheckedObjects({ homeDir: folder() })
    await placeFile(from, to, { types: [type], mode, verify: { oid: oidOfBytes('bytes'), checked } })
    expect(readFileSync(to, 'utf8')).toBe('bytes')
    rmSync(to)
    await expect(
      placeFile(from, to, { types: [type], mode, verify: { oid: oidOfBytes('others'), checked } }),
    ).rejects.toMatchObject({
      code: 'OBJECT_CORRUPT',
    })
    expect(readdirSync(workspace)).toEqual([])
  })

  it.each([
    ['symlink', 'resolves'],
    ['hardlink', 'resolves'],
    ['copy', 'rejects'],
  ] as const)('by %s a file that was found whole is read once more: %s, and any other in its place', async (type, outcome) => {
    const { from, to } = world()
    const homeDir = folder()
    const place = async () => {
      const checked = openCheckedObjects({ homeDir })
      await placeFile(from, to, { types: [type], mode: 0o644, verify: { oid: oidOfBytes('bytes'), checked } })
      checked.flush(() => true)
      rmSync(to)
    }
    utimesSync(from, 1, 1)
    await place()
    // What nobody but the file's owner could do, and on purpose only.
    chmodSync(from, 0o644)
    writeFileSync(from, 'BYTES')
    utimesSync(from, 1, 1)
    await (outcome === 'resolves' ? place() : expect(place()).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' }))
    rmSync(from)
    writeFileSync(from, 'other')
    utimesSync(from, 1, 1)
    await expect(place()).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
    chmodSync(from, 0o644)
    writeFileSync(from, 'bytes')
    await place()
  })

  it.each<LinkType>(['symlink', 'hardlink', 'copy'])('says by %s what is missing, and leaves nothing half done', async (type) => {
    const { cache, workspace, to } = world()
    await expect(placeFile(join(cache, 'gone'), to, { types: [type], mode: 0o644 })).rejects.toMatchObject({
      code: 'OBJECT_MISSING',
    })
    mkdirSync(to)
    writeFileSync(join(to, 'kept'), '')
    await expect(placeFile(join(cache, 'object'), to, { types: [type], mode: 0o644 })).rejects.toThrow()
    expect(readdirSync(workspace)).toEqual(['name'])
    expect(readdirSync(to)).toEqual(['kept'])
  })
})
