import { createHash } from 'node:crypto'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, test } from 'vitest'
import { createMd5, kindAt, listFolder, md5OfBytes, md5OfListing } from '../../src/migrate/dvc-hash.ts'
import { loadIgnore } from '../../src/workspace/ignore.ts'
import { makeFolder } from '../helpers/repo.ts'

const md5 = (bytes: string | Uint8Array) => createHash('md5').update(bytes).digest('hex')

test.each([
  ['text', 'a\r\nb\r\n', 'a\nb\n'],
  ['nothing', '', ''],
  ['binary data', '\0a\r\n', '\0a\r\n'],
  ['mostly odd bytes', '\x80\x81\x82\r\n', '\x80\x81\x82\r\n'],
  ['a lone return', 'a\rb', 'a\rb'],
])('takes %s as DVC 2 did', (_name, bytes, counted) => {
  expect(md5OfBytes(Buffer.from(bytes, 'latin1'), 'md5-dos2unix')).toBe(md5(Buffer.from(counted, 'latin1')))
  expect(md5OfBytes(Buffer.from(bytes, 'latin1'), 'md5')).toBe(md5(Buffer.from(bytes, 'latin1')))
})

it('looks at text piece by piece of 1 MiB, however it comes', () => {
  const piece = 1 << 20
  // The return stands at the end of the first piece, its line feed at the start of the second.
  const bytes = Buffer.from(`${'x'.repeat(piece - 1)}\r\ny\r\n`)
  const counted = `${'x'.repeat(piece - 1)}\r\ny\n`
  const hash = createMd5('md5-dos2unix')
  for (let at = 0; at < bytes.length; at += 65_537) hash.update(bytes.subarray(at, at + 65_537))
  expect(hash.digest()).toBe(md5(counted))
})

it('writes a list as Python does: by code points, beyond ASCII escaped', () => {
  const listed = md5OfListing([
    { path: '\u{1f600}', md5: 'b'.repeat(32) },
    { path: '\uffee/é"', md5: 'a'.repeat(32) },
  ])
  const text = `[{"md5": "${'a'.repeat(32)}", "relpath": "\\uffee/\\u00e9\\""}, {"md5": "${'b'.repeat(32)}", "relpath": "\\ud83d\\ude00"}]`
  expect(listed).toBe(md5(text))
})

it('lists what DVC lists, and follows links only into its cache', async () => {
  const { dir } = makeFolder()
  for (const folder of ['data/sub', 'data/.git', 'data/empty', 'cache', 'else']) mkdirSync(join(dir, folder), { recursive: true })
  for (const file of ['data/a', 'data/b.tmp', 'data/sub/c', 'data/.git/x', 'cache/o', 'else/e'])
    writeFileSync(join(dir, file), file)
  writeFileSync(join(dir, '.dvcignore'), '*.tmp\n')
  symlinkSync(join(dir, 'cache/o'), join(dir, 'data/linked'))
  symlinkSync(join(dir, 'else/e'), join(dir, 'data/other'))
  symlinkSync('nowhere', join(dir, 'data/broken'))
  const caches = [join(dir, 'cache')]
  const found = await listFolder(dir, 'data', { hash: 'md5', ignore: loadIgnore(dir, '', '.dvcignore'), caches })
  expect(found.sort((a, b) => (a.path < b.path ? -1 : 1))).toEqual([
    { path: 'a', md5: md5('data/a') },
    { path: 'linked', md5: md5('cache/o') },
    { path: 'sub/c', md5: md5('data/sub/c') },
  ])
  expect(kindAt(join(dir, 'data/linked'), caches)).toBe('linked')
  expect(kindAt(join(dir, 'data/other'), caches)).toBeUndefined()
  expect(kindAt(join(dir, 'data/a/b'), caches)).toBeUndefined()
})
