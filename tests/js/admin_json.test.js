import assert from "node:assert/strict";
import { test } from "node:test";

import { place } from "../../djhookbox/static/djhookbox/admin/json.js";

test("each browser's way to say where JSON is wrong is understood", () => {
  const text = '{\n  "a": 1,\n  b: 2\n}';
  assert.deepEqual(place(text, "Expected property name in JSON at position 14"), { line: 3, column: 3 });
  assert.deepEqual(place(text, "at position 14 (line 3 column 3)"), { line: 3, column: 3 });
  assert.deepEqual(
    place(text, "JSON.parse: expected property name or '}' at line 3 column 3 of the JSON data"),
    { line: 3, column: 3 },
  );
  assert.equal(place(text, "JSON Parse error: Expected '}'"), null);
});

test("what this very browser says is understood, too", () => {
  const text = '[1,\n2,\nx]';
  try {
    JSON.parse(text);
    assert.fail("it is no JSON");
  } catch (error) {
    const where = place(text, error.message);
    assert.ok(where === null || where.line === 3, error.message);
  }
});
