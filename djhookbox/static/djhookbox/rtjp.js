/**
 * A frame of the protocol: id, name, arguments.
 *
 * @typedef {[number, string, Record<string, any>]} Frame
 */

/**
 * Encode a frame as a line.
 *
 * @param {number} id
 * @param {string} name
 * @param {Record<string, any>} args
 * @returns {string}
 */
export function encodeFrame(id, name, args) {
  return `${JSON.stringify([id, name, args])}\r\n`;
}

/** Decodes text, split anywhere, into frames: lines of JSON that end in CR LF. */
export class FrameDecoder {
  #rest = "";

  /**
   * Return the frames that are complete after this text.
   *
   * Invalid lines are skipped: a mistake of the server must not end the page's connection.
   *
   * @param {string} text
   * @returns {Frame[]}
   */
  feed(text) {
    const lines = (this.#rest + text).split("\r\n");
    this.#rest = lines.pop();
    return lines.flatMap(frames);
  }
}

/** @returns {Frame[]} The one of a line, or none. */
function frames(line) {
  try {
    const frame = JSON.parse(line);
    const [, name, args] = frame;
    return frame.length === 3 && typeof name === "string" && args && typeof args === "object" ? [frame] : [];
  } catch {
    return [];
  }
}
