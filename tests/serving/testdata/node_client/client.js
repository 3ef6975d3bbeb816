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
  inputs: {
    user_id: {dtype: "DT_STRING", tensor_shape: {dim: [{size: 1}]}, string_val: [Buffer.from(user)]},
    k: {dtype: "DT_INT32", tensor_shape: {dim: [{size: 1}]}, int_val: [Number(k)]},
  },
};
client.Predict(request, {deadline: Date.now() + 30000}, (error, response) => {
  if (error) {
    console.log(JSON.stringify({code: error.code, details: error.details}));
    process.exit(1);
  }
  console.log(JSON.stringify({
    version: response.model_spec.version.value,
    business_id: response.outputs.business_id.string_val.map(String),
    score: response.outputs.score.float_val,
  }));
});
