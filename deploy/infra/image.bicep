// The image that a container app runs, so that provisioning again does not take it away; none before the first deployment.
param name string
param exists bool

resource app 'Microsoft.App/containerApps@2024-03-01' existing = if (exists) {
  name: name
}

output image string = exists ? app.properties.template.containers[0].image : ''
