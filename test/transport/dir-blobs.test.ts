import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { OBJECT_TIME } from '../../src/store/loose-writer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { sweep } from '../../src/transport/temporary-files.ts'
import { blobsContract, keysOf } from '../contract/blobs.ts'

const top = mkdtempSync(join(tmpdir(), 'mlv-dir-'))
afterAll(() => rmSync(top, { recursive: true, force: true }))

const canMount = (() => {
  const probe = mkdtempSync(join(top, 'probe-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', probe], { stdio: 'ignore' })
    execFileSync('umount', [probe])
    return true
  } catch {
    return false
  }
})()

const isRoot = process.getuid?.() === 0

let made = 0
const newFolder = () => join(top, `remote ${++made}`, 'below')

blobsContract('a folder', async () => createDirBlobs({ root: newFolder() }))

describe('a folder', () => {
  test('is made by the first put, not by reading', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    expect(await keysOf(blobs, '')).toEqual([])
    expect(await blobs.head('a')).toBeUndefined()
    await expect(blobs.get('a')).rejects.toMatchObject({ code: 'BLOB_MISSING' })
    await blobs.delete('a')
    expect(existsSync(root)).toBe(false)
    await blobs.put('a', Buffer.from('1'))
    expect(readdirSync(root).sort()).toEqual(['a', 'tmp'])
  })

  test('shows where a blob lies, and keeps it read-only', async () => {
    const blobs = createDirBlobs({ root: newFolder() })
    await blobs.put('objects/ab/1', Buffer.from('one'))
    const path = blobs.filePath('objects/ab/1')
    expect(readFileSync(path, 'utf8')).toBe('one')
    expect(statSync(path).mode & 0o222).toBe(0)
  })

  test('leaves nothing in tmp, and lists nothing of it', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    await blobs.put('a', Buffer.from('1'))
    await blobs.put('a', Buffer.from('2'), { ifAbsent: true })
    await expect(blobs.put('b', Buffer.from('2'), { oid: '0'.repeat(64) as never })).rejects.toThrow()
    expect(readdirSync(join(root, 'tmp'))).toEqual([])
    writeFileSync(join(root, 'tmp', 'half'), 'hal')
    expect(await keysOf(blobs, '')).toEqual(['a'])
    expect(await keysOf(blobs, 'tm')).toEqual([])
    expect(await keysOf(blobs, 'tmp/')).toEqual([])
  })

  test('removes what a killed process left in tmp a day ago, and keeps what is younger, such as an object that bears its own time already', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    const left = join(root, 'tmp', 'object')
    mkdirSync(join(root, 'tmp'), { recursive: true })
    writeFileSync(left, 'whole')
    utimesSync(left, OBJECT_TIME, OBJECT_TIME)
    await blobs.put('a', Buffer.from('1'))
    expect(readdirSync(join(root, 'tmp'))).toEqual(['object'])
    for (const [hours, names] of [
      [23, ['object']],
      [25, []],
    ] as const) {
      sweep(join(root, 'tmp'), Date.now() + hours * 3600_000)
      expect(readdirSync(join(root, 'tmp'))).toEqual(names)
    }
  })

  test('goes on when somebody removes folders in it meanwhile', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    await blobs.put('a/b', Buffer.from('1'))
    for (const name of ['a', 'tmp']) rmSync(join(root, name), { recursive: true })
    expect(await blobs.put('a/b', Buffer.from('2'), { ifAbsent: true })).toBe('written')
  })

  test('is not made anew when it vanishes or is replaced meanwhile: what was written before would be missing', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    await blobs.put('a/b', Buffer.from('1'))
    const reader = createDirBlobs({ root })
    await reader.get('a/b')
    renameSync(root, `${root} unmounted`)
    for (const each of [blobs, reader])
      await expect(each.put('a/c', Buffer.from('2'))).rejects.toMatchObject({
        code: 'FILE_UNWRITABLE',
        message: expect.stringContaining('vanished'),
      })
    expect(existsSync(root)).toBe(false)
    // Another process makes it again.
    expect(await createDirBlobs({ root }).put('a/b', Buffer.from('1'))).toBe('written')
    await expect(blobs.put('a/c', Buffer.from('2'))).rejects.toMatchObject({ message: expect.stringContaining('was replaced') })
  })

  test('that its group may write to shares its permissions, whatever the umask', async () => {
    const root = newFolder()
    mkdirSync(root, { recursive: true })
    chmodSync(root, 0o2770)
    const before = process.umask(0o077)
    try {
      await createDirBlobs({ root }).put('packs/ab/1', Buffer.from('1'))
      const alone = newFolder()
      await createDirBlobs({ root: alone }).put('packs/ab/1', Buffer.from('1'))
      expect(statSync(join(alone, 'packs')).mode & 0o7777).toBe(0o700)
    } finally {
      process.umask(before)
    }
    for (const folder of ['packs', 'packs/ab', 'tmp']) expect(statSync(join(root, folder)).mode & 0o7777).toBe(0o2770)
    expect(statSync(join(root, 'packs/ab/1')).mode & 0o7777).toBe(0o440)
  })

  test('names the file that stands where a folder should be', async () => {
    const root = newFolder()
    const blobs = createDirBlobs({ root })
    await blobs.put('packs', Buffer.from('in the way'))
    await expect(blobs.put('packs/ab/1', Buffer.from('1'))).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      message: expect.stringContaining(join(root, 'packs')),
    })
    await expect(blobs.get('packs/ab/1')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    const nested = createDirBlobs({ root: join(root, 'packs', 'remote') })
    await expect(nested.put('a', Buffer.from('1'))).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
    await expect(keysOf(nested, '')).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    expect(readFileSync(join(root, 'packs'), 'utf8')).toBe('in the way')
  })

  test('behind a link that leads nowhere says so', async () => {
    const root = newFolder()
    mkdirSync(dirname(root))
    symlinkSync(join(top, 'nowhere'), root)
    await expect(createDirBlobs({ root }).put('a', Buffer.from('1'))).rejects.toMatchObject({ code: 'PATH_MISSING' })
  })

  // Modes do not stop root, whom a disk mounted read-only stops.
  test.skipIf(isRoot && !canMount)('that may not be written to says so', async () => {
    const root = newFolder()
    mkdirSync(root, { recursive: true, mode: 0o555 })
    if (isRoot) execFileSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', root])
    try {
      await expect(createDirBlobs({ root }).put('a', Buffer.from('1'))).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
    } finally {
      if (isRoot) execFileSync('umount', [root])
    }
  })

  test.skipIf(!canMount)(
    'that is on a full disk says so, leaves the old blob, and nothing in tmp (where this process may mount a tiny disk)',
    async () => {
      const root = newFolder()
      mkdirSync(root, { recursive: true })
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', root])
      try {
        const blobs = createDirBlobs({ root })
        await blobs.put('a', Buffer.from('old'))
        await expect(blobs.put('a', Buffer.alloc(1 << 20))).rejects.toMatchObject({ code: 'DISK_FULL' })
        expect(Buffer.from(await blobs.get('a')).toString()).toBe('old')
        expect(readdirSync(join(root, 'tmp'))).toEqual([])
      } finally {
        execFileSync('umount', [root])
      }
    },
  )

  test.each(['../out', 'a/../../out', '/etc/passwd', 'a//b', './a', 'a\0b', ''])('refuses the key "%s"', async (key) => {
    const blobs = createDirBlobs({ root: newFolder() })
    await expect(blobs.get(key)).rejects.toMatchObject({ code: 'STORE_INVALID' })
    await expect(blobs.put(key, Buffer.from('1'))).rejects.toMatchObject({ code: 'STORE_INVALID' })
    await expect(blobs.delete(key)).rejects.toMatchObject({ code: 'STORE_INVALID' })
  })

  test('trusts the oid of the cache, whose writers have just hashed', async () => {
    const blobs = createDirBlobs({ root: newFolder(), trustOids: true })
    expect(await blobs.put('a', Buffer.from('1'), { oid: '0'.repeat(64) as never })).toBe('written')
  })
})
