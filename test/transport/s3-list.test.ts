import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseListing } from '../../src/transport/s3-list.ts'

const NAMED: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escaped = (text: string) => text.replace(/[&<>"']/g, (char) => NAMED[char]!)

interface Listed {
  key: string
  size: number
  etag: string
}

const xmlOf = (objects: readonly Listed[], token?: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>p/</Prefix>` +
  `<KeyCount>${objects.length}</KeyCount><IsTruncated>${token !== undefined}</IsTruncated>${objects
    .map(
      ({ key, size, etag }) =>
        `<Contents><Key>${escaped(key)}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>${escaped(etag)}</ETag><Size>${size}</Size><Owner><ID>x</ID></Owner></Contents>`,
    )
    .join('')}${token === undefined ? '' : `<NextContinuationToken>${escaped(token)}</NextContinuationToken>`}</ListBucketResult>`

describe('a page of a listing', () => {
  const key = fc.string({ unit: 'grapheme', minLength: 1 }).filter((text) => !/[\r\u0000-\u0008\ud800-\udfff]/.test(text))
  const listed = fc.record({ key, size: fc.nat(), etag: fc.constantFrom('"abc"', '"abc-2"') })

  it('gives every object with its size, time and ETag, and whether there is more', () => {
    fc.assert(
      fc.property(fc.array(listed, { maxLength: 5 }), fc.option(key, { nil: undefined }), (objects, token) => {
        expect(parseListing(xmlOf(objects, token))).toEqual({
          Name: 'b',
          KeyCount: objects.length,
          IsTruncated: token !== undefined,
          NextContinuationToken: token,
          Contents: objects.map((object) => ({
            Key: object.key,
            Size: object.size,
            LastModified: new Date('2026-01-02T03:04:05Z'),
            ETag: object.etag,
          })),
        })
      }),
    )
  })

  it('of an empty bucket has no objects', () => {
    expect(parseListing('<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>')).toMatchObject({
      Name: 'b',
      Contents: [],
    })
  })

  it.each([
    ['cut off', xmlOf([{ key: 'a', size: 1, etag: 'e' }]).slice(0, -30)],
    ['without its end', '<ListBucketResult><Contents><Key>a</Key></ListBucketResult>'],
    ['with sections that are not escaped', xmlOf([]).replace('<Name>b', '<Name><![CDATA[b]]>')],
    ['with prefixes of namespaces', '<s3:ListBucketResult></s3:ListBucketResult>'],
    ['without a size', xmlOf([{ key: 'a', size: 1, etag: 'e' }]).replace('<Size>1</Size>', '')],
    ['that is none', '<html></html>'],
  ])('%s is left to a real parser', (_what, xml) => {
    expect(parseListing(xml)).toBe(undefined)
  })
})
