import type { ListObjectsV2Command, ListObjectsV2CommandOutput } from '@aws-sdk/client-s3'

/** What is used of a page of a listing. */
export type ListingPage = Pick<
  ListObjectsV2CommandOutput,
  'Name' | 'KeyCount' | 'IsTruncated' | 'NextContinuationToken' | 'Contents'
>

/** The part of the SDK's response that is needed. */
interface RawResponse {
  statusCode: number
  body: AsyncIterable<Uint8Array>
}

/** Lets a command read the page of its answer itself: the SDK's reader of XML takes 0.1 ms of CPU a key, 10 s for 100,000. What is not plain is left to it.
 *  @returns gives the page once the command was sent; undefined where the SDK has read it */
export function readListing(command: ListObjectsV2Command): () => ListingPage | undefined {
  let page: ListingPage | undefined
  command.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args)
      const response = result.response as RawResponse
      if (response.statusCode !== 200) return result
      const pieces: Uint8Array[] = []
      for await (const piece of response.body) pieces.push(piece)
      const bytes = Buffer.concat(pieces)
      page = parseListing(bytes.toString())
      return { ...result, response: Object.assign(response, { body: page ? EMPTY : bytes }) }
    },
    { step: 'deserialize', priority: 'low', name: 'readListing' },
  )
  return () => page
}

const EMPTY = Buffer.from('<ListBucketResult/>')

/** Reads the XML of a page: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html.   @returns undefined for what needs a real parser */
export function parseListing(xml: string): ListingPage | undefined {
  const start = xml.search(/<ListBucketResult[\s>]/)
  if (start < 0 || !xml.trimEnd().endsWith('</ListBucketResult>') || /<!|<[\w]+:/.test(xml)) return undefined
  const Contents: NonNullable<ListingPage['Contents']> = []
  const rest: string[] = []
  let at = start
  for (let from = xml.indexOf('<Contents>', at); from >= 0; from = xml.indexOf('<Contents>', at)) {
    const end = xml.indexOf('</Contents>', from)
    if (end < 0) return undefined
    rest.push(xml.slice(at, from))
    const object = xml.slice(from, end)
    const [key, size, modified] = [textOf(object, 'Key'), textOf(object, 'Size'), textOf(object, 'LastModified')]
    if (key === undefined || !/^\d+$/.test(size ?? '') || Number.isNaN(Date.parse(modified ?? ''))) return undefined
    Contents.push({ Key: key, Size: Number(size), LastModified: new Date(modified!), ETag: textOf(object, 'ETag') })
    at = end + '</Contents>'.length
  }
  rest.push(xml.slice(at))
  const head = rest.join('')
  const count = textOf(head, 'KeyCount')
  return {
    Name: textOf(head, 'Name'),
    KeyCount: count === undefined ? undefined : Number(count),
    IsTruncated: textOf(head, 'IsTruncated') === 'true',
    NextContinuationToken: textOf(head, 'NextContinuationToken'),
    Contents,
  }
}

/** The text of the first element of a name that holds nothing but text. */
function textOf(xml: string, name: string): string | undefined {
  const from = xml.indexOf(`<${name}>`)
  if (from < 0) return undefined
  const end = xml.indexOf(`</${name}>`, from)
  if (end < 0) return undefined
  const text = xml.slice(from + name.length + 2, end)
  return text.includes('&') ? decoded(text) : text
}

const ENTITIES: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function decoded(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return ENTITIES[name] ?? whole
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}
