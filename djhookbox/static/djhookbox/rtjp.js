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
    return lines.map(parseLine).filter((frame) => frame !== null);
  }
}

/** @returns {Frame | null} */
function parseLine(line) {
  let frame;
  try {
    frame = JSON.parse(line);
  } catch {
    return null;
  }
  const wellFormed =
    Array.isArray(frame) &&
    frame.length === 3 &&
    typeof frame[1] === "string" &&
    typeof frame[2] === "object" &&
    frame[2] !== null;
  return wellFormed ? frame : null;
}
