"use strict";

// What a JSON Schema allows, in words and by an example.


const nameOf = (reference) => reference.split("/").at(-1);
const optionsOf = (schema) => schema.anyOf ?? schema.oneOf;
const isNull = (schema) => schema.type === "null";

// A value that the schema allows; `known` holds examples by the names of schemas.
function exampleOf(schema, schemas, known) {
  if (schema.$ref) {
    const name = nameOf(schema.$ref);
    return known[name] ?? exampleOf(schemas[name], schemas, known);
  }
  if ("const" in schema) return schema.const;
  if (schema.examples) return schema.examples[0];
  if (schema.enum) return schema.enum[0];
  const options = optionsOf(schema)?.filter((one) => !isNull(one));
  if (options?.length) return exampleOf(options[0], schemas, known);
  return exampleOfType(schema, schemas, known);
}

function exampleOfType(schema, schemas, known) {
  switch ([schema.type].flat().find((type) => type !== "null")) {
    case "object":
      return exampleOfObject(schema, schemas, known);
    case "array":
      return exampleOfArray(schema, schemas, known);
    case "integer":
      return Math.max(1, schema.minimum ?? 1);
    case "number":
      return 0.5;
    case "boolean":
      return true;
    default:
      return "text";
  }
}

function exampleOfObject(schema, schemas, known) {
  const required = schema.required ?? [];
  const shown = Object.entries(schema.properties ?? {}).filter(([name]) => required.includes(name));
  return Object.fromEntries(shown.map(([name, one]) => [name, exampleOf(one, schemas, known)]));
}

function exampleOfArray(schema, schemas, known) {
  const items = schema.prefixItems ?? [];
  if (items.length) return items.map((one) => exampleOf(one, schemas, known));
  const length = Math.max(1, schema.minItems ?? 1);
  return schema.items ? Array.from({ length }, () => exampleOf(schema.items, schemas, known)) : [];
}

// Nodes that say what is allowed; names of schemas lead to where they are described.
function wordsOf(schema) {
  if (schema.$ref) return [linkTo(nameOf(schema.$ref))];
  if ("const" in schema) return [code(JSON.stringify(schema.const))];
  if (schema.enum) return joined(schema.enum.map((value) => [code(JSON.stringify(value))]), " or ");
  const options = optionsOf(schema);
  if (options) return joined(options.map(wordsOf), " or ");
  const types = [schema.type ?? "anything"].flat().map((type) => (type === "array" ? listOf(schema) : [type]));
  return [...joined(types, " or "), ...limitsOf(schema)];
}

function listOf(schema) {
  if (!schema.items || Array.isArray(schema.items)) return ["list"];
  const { minItems: least, maxItems: most } = schema;
  const exact = least !== undefined && least === most ? `${least} ` : "";
  const range = !exact && most !== undefined ? ` (${least ?? 0} to ${most})` : "";
  return [`list of ${exact}`, ...wordsOf(schema.items), range];
}

function limitsOf(schema) {
  const { minimum: least, maximum: most, exclusiveMaximum: below, minLength: length, format } = schema;
  if (least !== undefined && most !== undefined) return [`, ${least} to ${most}`];
  if (below !== undefined) return [`, finite as float32`];
  if (length) return [`, not empty`];
  return format ? [`, ${format}`] : [];
}

const joined = (lists, between) => lists.flatMap((list, place) => (place ? [between, ...list] : list));
