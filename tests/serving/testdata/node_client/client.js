// A client of TensorFlow Serving, made of a descriptor set of its protos alone.
// node client.js DESCRIPTORS HOST:PORT MODEL USER_ID K
"use strict";
const fs = require("fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [descriptors, address, model, user, k] = process.argv.slice(2);
const definition = loader.loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors),
  {keepCase: true, longs: Number, enums: String});
const {PredictionService} = grpc.loadPackageDefinition(definition).tensorflow.serving;
const client = new PredictionService(address, grpc.credentials.createInsecure());
const request = {
  model_spec: {name: model, signature_name: "recommend"},
  // Read from descriptors, a map is what it is on the wire: a list of keys and values.
  inputs: [
    {key: "user_id", value: {dtype: "DT_STRING", tensor_shape: {dim: [{size: 1}]},
      string_val: [Buffer.from(user)]}},
    {key: "k", value: {dtype: "DT_INT32", tensor_shape: {dim: [{size: 1}]}, int_val: [Number(k)]}},
  ],
};
client.Predict(request, {deadline: Date.now() + 30000}, (error, response) => {
  if (error) {
    console.log(JSON.stringify({code: error.code, details: error.details}));
    process.exit(1);
  }
  const outputs = Object.fromEntries(response.outputs.map(({key, value}) => [key, value]));
  console.log(JSON.stringify({
    version: response.model_spec.version.value,
    business_id: outputs.business_id.string_val.map(String),
    score: outputs.score.float_val,
  }));
});
