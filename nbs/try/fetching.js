/** Downloads the page's own files: with progress, checked, and kept in the browser's cache. */

const HERE = new URL("./", import.meta.url);
const CACHE = "mwmae-try";

/** A download that failed, with a sentence for the reader. */
export class DownloadError extends Error {}

let listed;
/** What `files.json` says of each file, {name: {bytes, sha256}}; empty if there is no list. */
export function manifest() {
  listed ??= fetch(new URL("files.json", HERE), { cache: "no-cache" })
    .then((response) => (response.ok ? response.json() : {}))
    .catch(() => ({}));
  return listed;
}

/** SHA-256 of bytes in hexadecimal digits; undefined where the page is not served securely. */
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return undefined;
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The bytes of a response, as one Uint8Array; calls `onBytes(so far)` while they arrive. */
async function readBody(response, onBytes) {
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    length += part.value.length;
    onBytes(length);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The browser's cache for these files, or undefined where it has none. */
async function openCache() {
  try {
    return await globalThis.caches?.open(CACHE);
  } catch {
    return undefined;
  }
}

/** Keep `bytes` under `key` and forget other versions of the same file; a full disk is no error. */
async function keep(cache, key, bytes) {
  try {
    const file = new URL(key).pathname;
    for (const old of await cache.keys()) {
      const { pathname } = new URL(old.url);
      if (pathname === file && old.url !== key) await cache.delete(old);
    }
    await cache.put(key, new Response(bytes));
  } catch {
    // the file is simply downloaded again next time
  }
}

/** Download `url`, or throw a `DownloadError`. */
async function download(url, name, onBytes) {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    return await readBody(response, onBytes);
  } catch (error) {
    throw new DownloadError(`${name} could not be downloaded (${error.message})`);
  }
}

/**
 * A file of this folder, from the cache if its version is there.
 * @param {string} name such as "model.onnx"
 * @param {(bytes: number) => void} onBytes is told how much of it is there
 * @returns {Promise<ArrayBuffer>} its bytes. Throws a `DownloadError` if they are not to be had, or
 *   are not what `files.json` says.
 */
export async function fetchKept(name, onBytes = () => {}) {
  const expected = (await manifest())[name];
  const url = new URL(name, HERE);
  const cache = expected && (await openCache());
  if (expected) url.searchParams.set("v", expected.sha256.slice(0, 16));
  const kept = await cache?.match(url.href);
  if (kept) {
    const bytes = await kept.arrayBuffer();
    if (bytes.byteLength === expected.bytes) {
      onBytes(bytes.byteLength);
      return bytes;
    }
  }
  const bytes = await download(url, name, onBytes);
  if (expected) {
    const sum = await sha256(bytes);
    if (bytes.length !== expected.bytes || (sum && sum !== expected.sha256)) {
      throw new DownloadError(`${name} arrived damaged`);
    }
    if (cache) await keep(cache, url.href, bytes);
  }
  return bytes.buffer;
}
